"""Which cell of the paper's tables a run fills: the tables of this repository."""

import examples
import ppo_records
import pytest

from experiments.verdict.cells import cells_of, stages_of


def ids(**changes):
    return [cell.reported for _, cell in cells_of(examples.record(80.0, **changes))]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ["T4-004"]),
        ({"epochs": 150, "optim": "adamw"}, ["T4-001"]),
        ({"recipe": "setting_1", "batch_size": 4096}, ["T7-009"]),
        ({"recipe": "setting_1", "batch_size": 32768, "optim": "lamb"}, ["T7-006"]),
        ({"scale": "mini", "seed": 3}, ["T4-004"]),
        ({"epochs": 100}, []),
        ({"optim": "sgd"}, []),
    ],
)
def test_a_run_finds_its_cell_by_experiment_recipe_optimizer_budget_and_batch_size(changes, found):
    assert ids(**changes) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ["published"]),
        ({"seed": 204, "rate": 1e-3}, ["tuned"]),
        ({"seed": 204}, ["tuned"]),
        ({"seed": 100, "rate": 1e-3}, ["tuning"]),
        ({"seed": 100, "rate": 0.5}, []),
        ({"seed": 303, "exp": "ppo_halfcheetah"}, ["replication"]),
        ({"seed": 77}, []),
        ({"optim": "lion"}, []),
        ({"scale": "mini"}, []),
    ],
)
def test_the_stages_of_figure_2_that_a_run_is_one_of(changes, found):
    assert [stage.name for _, stage in stages_of(ppo_records.record(1.0, **changes))] == found
