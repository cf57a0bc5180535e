"""The kit against the reference: seeded bugs are explained in the right words, and ours has a clean row."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import broken_adans
import pytest

from experiments.conformance.cases import CASES
from experiments.conformance.comparison import compare
from experiments.conformance.departures import DEPARTURES
from experiments.conformance.implementations import Implementation, NotRun, TorchAdan
from experiments.conformance.installed import installed
from experiments.conformance.page import page
from experiments.schema.errors import UserError

LACKS = {"no_prox": "", "clipping": "", "restart": ""}
SMALL = [case for case in CASES if case.name != "1 to 1e6 elements"]


def broken(name):
    recipe = TorchAdan(
        f"from broken_adans import {name}",
        name,
        getattr(broken_adans, name),
        lambda hyper: {key: hyper[key] for key in ("lr", "betas", "eps", "weight_decay")},
    )
    return recipe.implementation(name, "0", LACKS)


def findings(name, cases=SMALL):
    (report,) = compare([broken(name)], cases=cases)
    return {finding.words: finding for finding in report.findings if not finding.words.startswith("keeps the states")}


def test_a_correct_adan_has_nothing_to_be_said_about_it():
    assert findings("PlainAdan") == {}


@pytest.mark.parametrize(
    "name, departures, where",
    [
        ("WrongNesterov", ["nesterov"], "plain"),
        ("ZeroStart", ["zero start"], "plain"),
        ("GroupCount", ["group count"], "late and skipping parameters"),
        ("TwoBugs", ["nesterov", "zero start"], "plain"),
    ],
)
def test_a_seeded_bug_is_named_and_its_reproduction_shows_it(name, departures, where):
    found = findings(name)
    assert set(found) == {DEPARTURES[departure] for departure in departures}
    for finding in found.values():
        assert where in finding.where
        assert finding.reproduction.actual != finding.reproduction.expected


def test_a_kernel_that_misses_the_tail_of_large_tensors_is_seen_at_its_first_step():
    (words,) = findings("MissesTheTail", [case for case in CASES if case.name == "1 to 1e6 elements"])
    assert "leaves the reference at step 1: 6 of 1004310 elements (6 of them do not move)" in words
    assert "on large tensors only" in words


def test_what_no_known_departure_explains_is_said_to_be_unexplained():
    (words,) = findings("Unheard", [case for case in CASES if case.name == "plain"])
    assert "no known departure explains it" in words


@pytest.mark.parametrize("name, words", [("ScalesGradients", "multiplied by 0.25"), ("NegatesGradients", "negated")])
def test_a_changed_gradient_is_shown_with_code(name, words):
    (finding,) = [finding for text, finding in findings(name).items() if words in text]
    assert finding.reproduction.expected == "0.8000000000"
    assert finding.reproduction.actual in ("0.2000000000", "-0.8000000000")


def test_ours_follows_the_reference_in_every_variant_that_runs():
    reports = compare([i for i in installed() if isinstance(i, Implementation) and i.name.startswith("adan.Adan")])
    assert {"adan.Adan, foreach", "adan.Adan, single tensor"} <= {report.implementation.name for report in reports}
    for report in reports:
        assert report.worst("float64") < 1e-12
        if report.implementation.expected:
            assert report.worst("float32") < 0.2
        else:
            assert report.findings == []
            assert report.worst("float32") < 1e-4


def test_announced_rounding_excuses_no_other_update():
    announced = "rounds, as announced"
    (report,) = compare([replace(broken("WrongNesterov"), expected=announced)], cases=SMALL[:1])
    assert [finding.words for finding in report.faults()] == [DEPARTURES["nesterov"]]
    (report,) = compare([replace(broken("RoundsStates"), expected=announced)], cases=SMALL[:1])
    assert [finding.words for finding in report.findings] == [announced]
    assert report.faults() == []


def test_what_is_refused_in_float64_is_compared_in_float32():
    single = replace(broken("WrongNesterov"), lacks={**LACKS, "float64": "fp32 only"})
    (report,) = compare([single], cases=SMALL[:1])
    assert report.measured["float64"]["plain"].missing == "not offered (float64: fp32 only)"
    assert DEPARTURES["nesterov"] in [finding.words for finding in report.findings]
    assert report.leaves() == (2, "plain, float32")


@pytest.mark.parametrize("name", ["timm adan, foreach", "timm adanw, single tensor"])
def test_timms_copy_of_the_authors_code_follows_the_reference_but_for_its_count(name):
    (report,) = compare([i for i in installed() if i.name == name], cases=SMALL)
    measured = report.measured["float64"]
    del measured["late and skipping parameters"]
    assert all(m.worst < 1e-12 for m in measured.values())
    assert measured["restarts"].missing == ""
    assert "not offered" in measured["clipping"].missing


def test_an_optax_that_deviates_is_explained():
    pytest.importorskip("optax")
    (report,) = compare([i for i in installed() if i.name == "optax.adan"], cases=SMALL)
    assert {finding.words for finding in report.findings} <= {DEPARTURES["nesterov"]}
    assert "not offered" in report.measured["float64"]["weight decay, prox"].missing


def test_the_page_has_a_row_per_implementation_and_is_the_same_every_time():
    pages = []
    for _ in range(2):
        reports = compare([broken("PlainAdan"), broken("WrongNesterov")], cases=SMALL)
        pages.append(page(reports, [NotRun("Another", "no GPU")], "a machine", "a command"))
    assert pages[0] == pages[1]
    assert "| PlainAdan | 0 | " in pages[0]
    assert "| Another |  |  |  |  | not run: no GPU |" in pages[0]


def test_the_code_of_a_reproduction_prints_what_the_page_says(tmp_path):
    (finding,) = findings("WrongNesterov", SMALL[:1]).values()
    script = tmp_path / "reproduction.py"
    script.write_text(finding.reproduction.program)
    environment = {**os.environ, "PYTHONPATH": str(Path(broken_adans.__file__).parent)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    printed = [f"{float(text):.10f}" for text in done.stdout.strip("[]\n").split(",")]
    assert ", ".join(printed) == finding.reproduction.actual


@pytest.mark.parametrize("path, words", [("nowhere.py", "no such Python file"), (__file__, "no class Adan")])
def test_a_path_that_is_not_the_authors_file_is_refused(path, words):
    with pytest.raises(UserError, match=words):
        installed(Path(path))
