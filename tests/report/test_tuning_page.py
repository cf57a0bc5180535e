"""The page of a tuning by a grid: nothing is chosen before all of it is done, then the best of the declared epochs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from experiments.record.events import EventLog
from experiments.report.tuning_page import page
from experiments.schema import paths
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest
from experiments.schema.tunings import load_tuning
from experiments.schema.typed import to_dict
from experiments.verdict.records import sealed_records

TUNING = load_tuning("ptb_lstm")
RATES, DECAYS = (1e-3, 3e-3, 1e-2), (1.2e-6, 0.02)
GRID = [(rate, decay) for rate in RATES for decay in DECAYS]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def seal(results, rate, decay, perplexities, status="partial", scale="paper", extra=(), **changes):
    """A record of Adan on the one-layer LSTM with one evaluation after each epoch, and its events."""
    run = f"optim.lr={rate}", f"optim.weight_decay={decay}"
    [config] = compose(["exp=ptb_lstm_1", "optim=adan", f"scale={scale}", "seed=100", *run, *extra])
    write(results, config, perplexities, "val_ppl", status, to_dict(replace(config, **changes)))


def write(results, config, values_of_epochs, metric, status, tree):
    """The record and the events of a run whose configuration as recorded is `tree`."""
    name = f"{config.exp}-adan-{config.scale}-{config_digest(config)[:12]}-seed{tree['seed']}"
    folder = results / "records" / name
    folder.mkdir(parents=True)
    log = EventLog(folder / "events.jsonl")
    for epoch, value in enumerate(values_of_epochs):
        log.append("evaluation", epoch=epoch, update=epoch + 1, **{metric: value, "test_ppl": 1.0})
    log.close()
    events = (folder / "events.jsonl").read_text().splitlines()
    record = {
        **{"run": name, "exp": config.exp, "optim": "adan", "recipe": config.recipe, "scale": config.scale},
        **{"seed": tree["seed"], "overrides": tree["overrides"], "status": status, "summary": {}, "config": tree},
        **{"config_digest": config_digest(config), "events": {"hash": json.loads(events[-1])["hash"]}},
        **{"progress": {"epoch": len(values_of_epochs), "total_epochs": 200}},
    }
    (folder / "record.json").write_text(json.dumps(record))


def values(found):
    """The last column of the rows of one experiment and optimizer."""
    rows = [line for line in found.splitlines() if line.startswith("| ptb_lstm_1 | adan")]
    return [row.rpartition(" | ")[2].strip(" |") for row in rows]


def test_the_grids_are_declared_before_any_run(results):
    text = page(TUNING, sealed_records())
    assert "- adan: optim.lr 0.001, 0.003, 0.01; optim.weight_decay 1.2e-06, 0.02\n" in text
    assert text.count("No combination has been run.") == 2 and "chosen is" not in text


def test_the_best_validation_perplexity_of_the_declared_epochs_chooses(results):
    for rate, decay in GRID:
        later = [20.0] if rate == 1e-3 else []  # an epoch after those that count
        seal(results, rate, decay, [90.0 + rate + decay] * 39 + [80.0 + 100 * abs(rate - 3e-3) + decay] + later)
    text = page(TUNING, sealed_records())
    assert values(text) == ["80.20", "80.22", "**80.00**", "80.02", "80.70", "80.72"]
    assert "chosen is optim.lr=0.003, optim.weight_decay=1.2e-06; the recipe has optim.lr=0.001, " in text


def test_nothing_is_chosen_while_a_run_is_missing_or_has_not_gone_far_enough(results):
    for rate, decay in GRID[1:]:
        seal(results, rate, decay, [80.0] * (39 if rate == 1e-2 else 40))
    text = page(TUNING, sealed_records())
    assert values(text) == ["not run", "80.00", "80.00", "80.00", "under way", "under way"]
    assert "ptb_lstm_1 adan: 3 of 6 combinations are done; nothing is chosen before all are" in text


def test_a_choice_at_the_end_of_a_grid_is_named_and_a_diverged_run_is_no_choice(results):
    for rate, decay in GRID:
        last = (rate, decay) == GRID[-1]
        seal(results, rate, decay, [1.0] if last else [80.0 - 100 * rate] * 40, "diverged" if last else "partial")
    text = page(TUNING, sealed_records())
    assert values(text)[-2:] == ["**79.00**", "diverged"]
    assert "optim.weight_decay=1.2e-06 (the highest optim.lr of the grid: the best may lie outside it)" in text


def test_other_seeds_other_changes_and_the_other_scale_are_no_runs_of_the_grid(results):
    seal(results, *GRID[0], [10.0] * 40, seed=0)
    seal(results, *GRID[1], [10.0] * 40, extra=("precision=bf16",))
    seal(results, *GRID[2], [30.0] * 8, status="finished", scale="mini")
    paper, mini = page(TUNING, sealed_records()).split("## Mini scale")
    assert "No combination has been run." in paper
    assert values(mini) == ["not run", "not run", "30.00", "not run", "not run", "not run"]


def test_whole_runs_compare_by_the_largest_accuracy_and_only_on_the_declared_split(results):
    tuning = load_tuning("cifar10")
    for number, settings in enumerate(tuning.combinations("adan")):
        arguments = [f"{key}={value}" for key, value in settings.items()]
        top = 94.0 if list(settings.values()) == [0.005, 0.02] else 89.0 + number % 5
        seal_accuracy(results, [top, top + 1.0], "data.validation_fraction=0.1", *arguments)
    seal_accuracy(results, [99.9], "data.validation_fraction=0.5", "optim.lr=0.005", "optim.weight_decay=0.02")
    text = page(tuning, sealed_records())
    assert "trains every combination for all its epochs with seed 100 and data.validation_fraction=0.1" in text
    assert "chosen is optim.lr=0.005, optim.weight_decay=0.02; so has the recipe" in text
    assert "**95.00**" in text and "99.90" not in text


def seal_accuracy(results, accuracies, *arguments):
    """A finished run of Adan on VGG-11 with one validation accuracy after each epoch."""
    [config] = compose(["exp=cifar10_vgg11", "optim=adan", "scale=paper", "seed=100", *arguments])
    write(results, config, accuracies, "val_top1", "finished", to_dict(config))
