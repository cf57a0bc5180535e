"""`python scripts/conformance.py --optimizer ...` as a process: what it prints and its exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "conformance.py"


def conformance(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "spec, status, line",
    [
        ("broken_adans:PlainAdan", 0, "12 checks, 0 failed"),
        ("broken_adans:NegatesGradients", 1, "FAIL  gradients untouched: a step leaves p.grad negated"),
    ],
)
def test_an_optimizer_of_the_users_folder_is_checked(spec, status, line):
    done = conformance("--optimizer", spec, "--settings", "lr=0.1", "weight_decay=0.1")
    assert done.returncode == status, done.stderr
    assert line in done.stdout


def test_a_mistake_ends_with_2_and_the_nearest_choice():
    done = conformance("--optimizer", "broken_adans:PlanAdan")
    assert done.returncode == 2
    assert "did you mean 'PlainAdan'?" in done.stderr
    assert "Traceback" not in done.stderr
