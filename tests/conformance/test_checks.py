"""The checks that need no reference: every seeded bug is found by its check, and honest optimizers pass them all."""

import broken_adans
import pytest
import torch

from experiments.conformance.checks import CHECKS, check
from experiments.conformance.subject import subject
from experiments.schema.errors import UserError


def verdicts(spec, *settings):
    return {outcome.check: outcome for outcome in check(subject(spec, settings))}


SEEDED = {
    "ForgetsState": ("state round trip", "goes on otherwise"),
    "GroupCount": ("late parameters", "otherwise than a fresh one"),
    "ScalesGradients": ("gradients untouched", "multiplied by 0.25"),
    "NegatesGradients": ("gradients untouched", "negated"),
    "IgnoresClosure": ("closure", "ignores the closure"),
    "CallsClosureTwice": ("closure", "calls the closure 2 times"),
    "ClosureWithoutGrad": ("closure", "without gradients enabled"),
    "CountsSkippedSteps": ("scaler skip", "changes parameters or state"),
    "MovesUnused": ("frozen and unused parameters", "moves"),
    "RefusesEmptyGroups": ("empty groups", "IndexError"),
    "FlatMemory": ("memory layout", "another memory layout"),
    "RandomBits": ("determinism", "two equal runs differ"),
    "FixedRate": ("zero learning rate", "move at learning rate 0"),
    "HiddenStep": ("visible to autograd", "version counter"),
}


@pytest.mark.parametrize("bug", SEEDED)
def test_a_seeded_bug_is_found_by_its_check(bug):
    name, words = SEEDED[bug]
    torch.manual_seed(0)
    outcome = verdicts(f"broken_adans:{bug}", "lr=0.1")[name]
    assert outcome.verdict == "FAIL"
    assert words in outcome.words


def test_a_rate_that_is_read_once_fails_the_scheduler_check_too():
    assert verdicts("broken_adans:FixedRate")["scheduler"].verdict == "FAIL"


@pytest.mark.parametrize(
    "spec, settings",
    [
        ("broken_adans:PlainAdan", ["lr=0.1", "weight_decay=0.1"]),
        ("adan:Adan", ["lr=0.1", "weight_decay=0.1", "foreach=True"]),
        ("adan:Adan", ["lr=0.1", "weight_decay=0.1", "foreach=False", "fused=False", "no_prox=True"]),
        ("torch.optim:AdamW", []),
        ("torch.optim:SGD", ["lr=0.1", "momentum=0.9"]),
        ("adamw", []),
        ("adabelief", ["weight_decay=0.1"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_honest_optimizers_pass_every_check(spec, settings):
    outcomes = check(subject(spec, settings))
    assert len(outcomes) == len(CHECKS)
    assert [outcome for outcome in outcomes if outcome.verdict != "pass"] == []


def test_a_rate_that_acts_late_passes_the_scheduler_check():
    assert verdicts("adamod")["scheduler"].verdict == "pass"


def test_an_optimizer_without_a_rate_is_not_asked_about_it():
    found = verdicts("broken_adans:WithoutRate")
    assert {found[name].verdict for name in ("zero learning rate", "scheduler")} == {"n/a"}
    assert [outcome for outcome in found.values() if outcome.verdict == "FAIL"] == []


def test_an_optimizer_of_matrices_is_checked_on_matrices_and_says_so():
    muon = subject("torch.optim:Muon")
    assert {len(shape) for shape in muon.shapes} == {2}
    assert muon.note.startswith("checked on matrices only: ValueError")


def test_an_optimizer_that_needs_a_closure_gets_one():
    found = verdicts("torch.optim:LBFGS")
    assert found["scaler skip"].verdict == "n/a"
    assert found["determinism"].verdict == "pass"


@pytest.mark.parametrize(
    "spec, settings, words",
    [
        ("torch.optim:Adamm", [], "did you mean 'Adam'?"),
        ("torch.optim:lr_scheduler", [], "is no torch.optim.Optimizer"),
        ("no_such_package:Adam", [], "cannot import 'no_such_package'"),
        ("module_that_raises:Adam", [], "cannot import 'module_that_raises' (ZeroDivisionError: "),
        (":Adam", [], "write it as module:Class"),
        ("..package:Adam", [], "write it as module:Class"),
        ("", [], "unknown optimizer"),
        ("broken_adans:NeedsArgument", [], "'rank'; give its arguments with --settings key=value"),
        ("lam", [], "did you mean 'lamb'?"),
        ("torch.optim.Adam", [], "write it as module:Class"),
        ("torch.optim:Adam", ["lr=-1"], "Invalid learning rate: -1"),
        ("torch.optim:Adam", ["lr"], "write key=value"),
        ("adan:Adan", ["lrr=0.1"], "lrr"),
    ],
)
def test_a_bad_spec_says_what_was_wrong_and_the_nearest_choice(spec, settings, words, tmp_path, monkeypatch):
    (tmp_path / "module_that_raises.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as error:
        subject(spec, settings)
    assert words in str(error.value)


def test_every_broken_adan_is_put_through_a_check():
    kinds = {name for name, value in vars(broken_adans).items() if isinstance(value, type)}
    measured = {"WrongNesterov", "ZeroStart", "TwoBugs", "MissesTheTail", "Unheard", "PlainAdan", "Optimizer"}
    measured |= {"NeedsArgument", "WithoutRate", "RoundsStates"}
    assert kinds - measured == set(SEEDED)
