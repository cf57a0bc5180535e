"""Does an optimizer do what it says? Two questions, two ways to call:

    python scripts/conformance.py [--authors adan.py] [--output results/conformance/adan.md]

steps every installed Adan against a float64 reference and prints a page (Markdown) of how far each is from it, what it
does differently, and code that shows it. Exit status 0 where all of ours do as documented, otherwise 1.

    python scripts/conformance.py --optimizer my_package:MyOptimizer --settings lr=0.1 "betas=(0.9, 0.99)"
    python scripts/conformance.py --optimizer lamb

checks what any optimizer owes its user: state_dict round trip, late parameters, untouched gradients, closure, skips of
GradScaler, ... Exit status 0 where all checks pass, 1 where one fails, 2 where the optimizer cannot be found or built.
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from pathlib import Path

import checkout  # noqa: F401
import torch

from experiments.conformance.checks import check
from experiments.conformance.comparison import compare
from experiments.conformance.implementations import Implementation, NotRun
from experiments.conformance.installed import installed
from experiments.conformance.page import page
from experiments.conformance.subject import subject
from experiments.record import provenance
from experiments.schema.errors import UserError


def main() -> int:
    sys.path.append(str(Path.cwd()))  # where --optimizer's module may lie
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", metavar="SPEC", help="module:Class or a name of the registry")
    parser.add_argument("--settings", nargs="+", default=[], metavar="KEY=VALUE", help="its hyper-parameters")
    parser.add_argument("--authors", type=Path, metavar="FILE", help="the authors' adan.py (github.com/sail-sg/Adan)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the page there instead of printing it")
    parser.add_argument("--device", default="cpu", help="where parameters live (default: cpu)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        _check_device(arguments.device)
        if arguments.optimizer is not None:
            return check_one(arguments)
        if arguments.settings:
            raise UserError("--settings go with --optimizer")
        return compare_all(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def check_one(arguments: argparse.Namespace) -> int:
    """Print one line per check of one optimizer."""
    candidate = subject(arguments.optimizer, arguments.settings, arguments.device)
    outcomes = check(candidate)
    print(f"{arguments.optimizer} {' '.join(arguments.settings)}".rstrip())
    if candidate.note:
        print(f"  {candidate.note}")
    for outcome in outcomes:
        print(f"  {outcome.verdict:4}  {outcome.check}{': ' if outcome.words else ''}{outcome.words}")
    failed = sum(outcome.verdict == "FAIL" for outcome in outcomes)
    print(f"{len(outcomes)} checks, {failed} failed")
    return 1 if failed else 0


def compare_all(arguments: argparse.Namespace) -> int:
    """Write or print the page."""
    found = installed(arguments.authors, arguments.device)
    not_run = [entry for entry in found if isinstance(entry, NotRun)]
    reports = compare([entry for entry in found if isinstance(entry, Implementation)], arguments.device)
    command = "python scripts/conformance.py"
    command += " --authors adan.py" if arguments.authors else ""
    command += "" if arguments.device == "cpu" else f" --device {arguments.device}"
    text = page(reports, not_run, setting(arguments.device), command)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
        print(arguments.output)
    else:
        print(text)
    ours = [report for report in reports if report.implementation.name.startswith("adan.Adan")]
    return 1 if any(report.faults() for report in ours) else 0


def setting(device: str) -> str:
    """Hardware and packages, for the page."""
    packages = []
    for name in ("torch", "numpy", "timm", "pytorch_optimizer", "optax", "jax"):
        try:
            packages.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    hardware = provenance.hardware()
    accelerator = f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    return f"{hardware['cpu']} ({hardware['platform'].split()[-1]}), one thread{accelerator}; {', '.join(packages)}"


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: {str(error).splitlines()[0]}") from error


if __name__ == "__main__":
    sys.exit(main())
