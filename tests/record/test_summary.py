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


def test_one_metric_at_the_best_evaluation_of_another():
    metrics = {
        "selected_on_test": MetricConfig("min", "best", of="test_ppl"),
        "test_ppl": MetricConfig("min", "selected", selected_by="val_ppl"),
        "val_ppl": MetricConfig("min", "best"),
    }
    rows = [(9.0, 8.0), (5.0, 7.0), (6.0, 4.0), (5.0, 3.0), (math.nan, 1.0)]  # (validation, test); of equals the first
    events = [{"kind": "evaluation", "val_ppl": val, "test_ppl": test} for val, test in rows]
    assert summarise(events, metrics) == {
        "selected_on_test": {"last": 1.0, "best": 1.0, "reported": "best"},
        "test_ppl": {"last": 1.0, "best": 1.0, "reported": "selected", "selected": 7.0},
        "val_ppl": {"last": events[-1]["val_ppl"], "best": 5.0, "reported": "best"},
    }
    assert summarise([], metrics)["test_ppl"]["selected"] is None
