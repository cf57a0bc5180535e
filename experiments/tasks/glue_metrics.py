"""The metrics of GLUE (Wang et al. 2019, section 3) by scikit-learn and scipy, in percent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn import metrics


def _correlation(of: Callable) -> Callable[[np.ndarray, np.ndarray], float]:
    """`of` as a number; 0 where predictions are all the same, of which no correlation is defined."""
    return lambda labels, predictions: float(of(labels, predictions).statistic) if np.ptp(predictions) else 0.0


# Each takes labels and predictions, both float64 [n]: numbers of classes, or scores.
METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": metrics.accuracy_score,
    "f1": lambda labels, predictions: metrics.f1_score(labels, predictions, zero_division=0.0),
    "matthews_corr": metrics.matthews_corrcoef,
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
}


def in_percent(name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """The metric `name`."""
    return 100 * float(METRICS[name](labels, predictions))
