"""The authors' advice for people who bring AdamW's settings: its numbers, its sources, its command."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adan import Adan
from adan.from_adamw import TASKS, from_adamw

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "adan_from_adamw.py"


def values(task="general", **adamw):
    advice = from_adamw(**{"lr": 1e-3, "weight_decay": 0.05, "warmup": 1000, **adamw}, task=task)
    return {setting.name: setting.values for setting in advice.settings}


def rules(advice):
    return [rule for setting in advice.settings for rule in setting.rules]


@pytest.mark.parametrize(
    "task, expected",
    [
        ("general", {"lr": (5e-3, 1e-2), "weight_decay": (0.02, 0.005), "warmup": (2000,)}),
        ("diffusion", {"lr": (2e-3,), "no_prox": (False, True)}),
        ("instruction-tuning", {"lr": (2e-3, 4e-3), "weight_decay": (0.025,)}),
        ("language-model", {"weight_decay": (0.02, 0.05, 0.1), "beta3": (0.95, 0.999), "warmup": ()}),
        ("mae-pretraining", {"lr": (8.33333e-4, 9.16667e-4), "beta3": (0.9,)}),
        ("bert-fine-tuning", {"warmup": (1000, 2000), "beta3": (0.99, 0.999), "weight_decay": (0.01, 0.001)}),
        ("lstm", {"lr": ()}),
        ("rl", {"weight_decay": (0.0,)}),
    ],
)
def test_the_numbers_are_those_of_the_sources(task, expected):
    found = values(task)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("task", TASKS)
def test_every_rule_has_a_source_and_every_task_gives_an_optimizer(task):
    advice = from_adamw(lr=1e-3, task=task)
    assert all(any(mark in rule.source for mark in ("sail-sg/Adan", "second-hand")) for rule in rules(advice))
    Adan([torch.nn.Parameter(torch.ones(2))], **advice.arguments())


def test_beta3_is_tuned_before_beta1_and_betas_are_in_the_convention_of_the_code():
    advice = from_adamw(lr=1e-3)
    names = [setting.name for setting in advice.settings]
    assert names.index("beta3") < names.index("beta1") < names.index("beta2")
    assert advice.arguments()["betas"] == (0.98, 0.92, 0.99)


def test_where_sources_disagree_both_speak():
    decay = next(
        setting for setting in from_adamw(lr=1e-3, weight_decay=0.3).settings if setting.name == "weight_decay"
    )
    assert decay.values == (0.02, 0.03)
    assert any("disagrees" in rule.text and "issues/29" in rule.source for rule in decay.rules)


def test_where_no_source_names_a_rate_none_is_made_up():
    advice = from_adamw(lr=1e-2, task="lstm")
    assert "lr" not in advice.arguments()
    assert "no source names a value" in str(advice)


def test_a_warm_up_that_was_not_given_is_asked_for_where_a_source_names_a_factor():
    assert "warmup        AdamW's warmup times a factor: give AdamW's\n" in str(from_adamw(lr=1e-3))
    assert "warmup        no source names a value: search\n" in str(from_adamw(lr=1e-3, task="language-model"))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": float("nan")}, "lr must be above 0"),
        ({"lr": float("inf")}, "lr must be above 0 and finite"),
        ({"lr": 1e-3, "weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"lr": 1e-3, "betas": (0.9, 1.0)}, "two betas"),
        ({"lr": 1e-3, "task": "difusion"}, "did you mean 'diffusion'?"),
    ],
)
def test_what_adamw_would_not_take_is_refused(settings, words):
    with pytest.raises(ValueError) as error:
        from_adamw(**settings)
    assert words in str(error.value)


def test_the_command_prints_settings_with_the_source_of_every_rule():
    arguments = ["--lr", "1e-3", "--weight-decay", "0.05", "--warmup", "5", "--task", "diffusion"]
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "lr            0.002\n" in done.stdout
    assert "warmup        10\n" in done.stdout
    assert done.stdout.count("    - ") == done.stdout.count("      [") == len(rules(from_adamw(1e-3, task="diffusion")))
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_command_refuses_an_unknown_task_with_the_nearest_one():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--lr", "1e-3", "--task", "difusion"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "error: unknown task 'difusion'; did you mean 'diffusion'?\n"
