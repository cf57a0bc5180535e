"""Adan's settings from AdamW's, with sources: `python scripts/adan_from_adamw.py --lr 1e-3 --weight-decay 0.05`.

`--task` names what is trained, because the sources distinguish: see the choices below. `--warmup` takes any unit.
Exit status 2 for a value that AdamW would not take.
"""

from __future__ import annotations

import argparse
import sys

import checkout  # noqa: F401

from adan.from_adamw import TASKS, from_adamw


def main() -> int:
    tasks = "\n".join(f"  {name:20}{what}" for name, what in TASKS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\ntasks:\n{tasks}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lr", type=float, required=True, help="AdamW's peak learning rate")
    parser.add_argument("--betas", type=float, nargs=2, default=(0.9, 0.999), metavar=("BETA1", "BETA2"))
    parser.add_argument("--eps", type=float, default=1e-8)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--warmup", type=float, help="length of AdamW's warm-up, in steps, epochs or any unit")
    parser.add_argument("--task", default="general", metavar="TASK", help="default: general")
    try:
        print(from_adamw(**vars(parser.parse_args())))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
