"""Which cell of the paper's tables a run fills: the tables of this repository."""

import examples
import pytest

from experiments.verdict.cells import cells_of


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
