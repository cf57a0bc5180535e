"""Small sealed records and facts for tests of verdicts and tables, in the shape of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

RELEASED = {"optim.lr": {"level": "released_arguments", "source": "args.yaml"}}
OURS = {"optim.lr": {"level": "ours", "source": "none published"}, "schedule.epochs": {"level": "paper", "source": "-"}}
OLD = "0" * 64


class Today:
    """What every made-up digest equals, as if its recipe composed to it: every one but `OLD`."""

    def __eq__(self, digest: object) -> bool:
        return digest != OLD

    __hash__ = None  # type: ignore[assignment]


def record(top1: float | None = 80.7, **changes: Any) -> dict[str, Any]:
    """A sealed record of vit_small with Adan, 300 epochs at paper scale; `changes` replace its fields."""
    best = changes.pop("best", top1)
    means = changes.pop("means", "last")
    config = {
        "schedule": {"epochs": 300, "cooldown_epochs": 10},
        "global_batch_size": 2048,
        "data": {"name": "imagenet"},
        "metrics": {"top1": {"direction": "max", "reported": means}},
        "evaluation": {"every": 1},
        "curve": None,
        "provenance": RELEASED,
    } | changes.pop("config", {})
    made = {
        "exp": "vit_small",
        "optim": "adan",
        "recipe": "setting_2",
        "scale": "paper",
        "seed": 0,
        "epochs": 300,
        "batch_size": 2048,
        "overrides": [],
        "config_digest": "d" * 64,
        "status": "finished",
        "progress": {"update": 100, "total_updates": 100, "epoch": 310, "total_epochs": 310},
        "summary": {"top1": {"last": top1, "best": best, "reported": means}},
        "config": config,
    } | changes
    cell = "-".join(str(made[key]) for key in ("exp", "optim", "scale", "epochs", "batch_size"))
    return {"run": "-".join([cell, *made["overrides"], f"seed{made['seed']}"])} | made


def mini(top1: float, optim: str = "adan", scale: str = "mini", **changes: Any) -> dict[str, Any]:
    """A finished record of a smaller scale than the paper's: 300 epochs run as 20, batch 2048 as 16, on MNIST."""
    config = {
        "schedule": {"epochs": 20, "cooldown_epochs": 1},
        "global_batch_size": 16,
        "data": {"name": "mnist"},
    } | changes.pop("config", {})
    return record(top1, optim=optim, scale=scale, config=config, **changes)


def reported(**changes: Any) -> dict[str, Any]:
    """A reported number as results/reported holds it."""
    return {
        "id": "T4-004",
        "table": "T4",
        "model": "ViT-S",
        "dataset": "ImageNet-1k",
        "metric": "top1",
        "direction": "max",
        "optimizer": "Adan",
        "value": 80.7,
        "unit": "%",
        "source": ["article-2022 Table 4", "README.md"],
        "provenance": "ours-in-paper",
    } | changes


def spread(**changes: Any) -> dict[str, Any]:
    """An entry of results/reported/spread.yaml."""
    return {
        "metric": "top1",
        "dataset": "ImageNet-1k",
        "sd": 0.104,
        "degrees_of_freedom": 12,
        "measured_on": "ResNet-50",
        "source": "Goyal et al., Table 2(a)",
    } | changes


def write_facts(results: Path, numbers: list[dict[str, Any]], spreads: list[dict[str, Any]], **meta: Any) -> None:
    """Fill `results/reported` as the repository does."""
    folder = results / "reported"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t4.yaml").write_text(yaml.safe_dump({**meta, "records": numbers}), encoding="utf-8")
    (folder / "spread.yaml").write_text(yaml.safe_dump({"spreads": spreads}), encoding="utf-8")


def write_record(results: Path, sealed: dict[str, Any]) -> Path:
    """Put `sealed` where the suite keeps its records."""
    path = results / "records" / sealed["run"] / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sealed), encoding="utf-8")
    return path
