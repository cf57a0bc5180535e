import math

from experiments.record.summary import summarise
from experiments.schema.config import MetricConfig

METRICS = {"top1": MetricConfig("max", "last"), "eval_loss": MetricConfig("min", "best")}


def evaluations(*values):
    return [{"kind": "evaluation", "top1": value, "eval_loss": 100 - value} for value in values]


def test_last_and_best_in_the_metrics_direction():
    assert summarise(evaluations(1.0, 5.0, 3.0), METRICS) == {
        "top1": {"last": 3.0, "best": 5.0, "reported": "last"},
        "eval_loss": {"last": 97.0, "best": 95.0, "reported": "best"},
    }


def test_only_evaluations_count():
    assert summarise([{"kind": "train", "top1": 99.0}, *evaluations(1.0)], METRICS)["top1"]["best"] == 1.0


def test_a_metric_never_evaluated_has_no_value():
    assert summarise([], METRICS)["top1"] == {"last": None, "best": None, "reported": "last"}


def test_nan_is_never_the_best_unless_alone():
    for values in ([math.nan, 2.0, 1.0], [2.0, math.nan, 1.0], [1.0, 2.0, math.nan]):
        assert summarise(evaluations(*values), METRICS)["top1"]["best"] == 2.0
        assert summarise(evaluations(*values), METRICS)["eval_loss"]["best"] == 98.0
    assert math.isnan(summarise(evaluations(2.0, math.nan), METRICS)["top1"]["last"])
    assert math.isnan(summarise(evaluations(math.nan), METRICS)["top1"]["best"])
