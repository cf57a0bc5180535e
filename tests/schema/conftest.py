"""A small `configs/` of its own: one experiment with two recipes, two optimizers, two data sets."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.schema import paths

EXPERIMENT: dict[str, Any] = {
    "title": "A model on shapes",
    "task": "image_classification",
    "default_recipe": "long",
    "data": "shapes",
    "settings": {"model": {"name": "resnet18"}, "metrics": {"top1": {"direction": "max", "reported": "last"}}},
    "recipes": {
        "long": {
            "batch_size": 1024,
            "epochs": 300,
            "lr_scaling": "sqrt",
            "settings": {"batch_per_device": 256, "schedule": {"warmup_epochs": 60, "cooldown_epochs": 10}},
            "budgets": {150: {}, 300: {}},
            "provenance": {"level": "released_arguments", "source": "args.yaml"},
            "optimizers": {
                "adan": {
                    "settings": {"optim": {"lr": 0.01}},
                    "curves": {300: "shapes_300"},
                    "provenance": {
                        "default": {"level": "readme", "source": "README.md"},
                        "schedule.warmup_epochs": {"level": "inferred", "source": "a figure"},
                    },
                }
            },
            "disagreements": ["README and arguments differ"],
        },
        "steps": {
            "batch_size": 256,
            "epochs": 90,
            "settings": {"schedule": {"name": "step", "milestones": [30, 60, 61]}},
            "budgets": {90: {}},
        },
    },
    "mini": {"data": "dots", "factors": {"epochs": "1/15", "batch_size": "1/128"}, "reason": "small"},
}

OPTIMIZERS = {
    "adan": {"name": "adan", "lr": 0.001, "betas": [0.98, 0.92, 0.99], "weight_decay": 0.0, "no_prox": False},
    "sgd": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
}

DATA = {
    "shapes": {"name": "shapes", "num_classes": 10, "train_size": 100_000, "test_size": 1000, "image_size": 64},
    "dots": {"name": "dots", "num_classes": 4, "train_size": 4000, "test_size": 100, "image_size": 28, "channels": 1},
    "lines": {"name": "lines", "num_classes": 2, "train_size": 640, "test_size": 64},
}


class Configs:
    """The folder, and a way to change the experiment's file before it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.experiment = copy.deepcopy(EXPERIMENT)

    def write(self) -> Path:
        (self.path / "exp" / "model.yaml").write_text(yaml.safe_dump(self.experiment))
        return self.path


@pytest.fixture
def configs(tmp_path: Path) -> Configs:
    for group in ("scale", "launch", "track"):
        shutil.copytree(paths.CONFIGS / group, tmp_path / group)
    shutil.copy(paths.CONFIGS / "config.yaml", tmp_path)
    for group, files in (("optim", OPTIMIZERS), ("data", DATA)):
        (tmp_path / group).mkdir()
        for name, tree in files.items():
            (tmp_path / group / f"{name}.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / "exp").mkdir()
    (tmp_path / "table").mkdir()
    return Configs(tmp_path)
