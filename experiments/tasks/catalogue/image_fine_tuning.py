"""Fine-tuning an image classifier in two stages: its new head (`HEAD`), then all of it (`WHOLE`). No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from experiments import data
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.scales import PAPER
from experiments.tasks.catalogue.image_classification import INFO

WEIGHTS = (".pth", ".pt", ".bin", ".safetensors")
IMPLEMENTATION = "experiments.tasks.image_fine_tuning:ImageFineTuning"


def begin_from_checkpoint(config: RunConfig, file: Path) -> None:
    """Take the digest of a file of weights. Raises UserError where there is none."""
    if not file.is_file() or file.suffix not in WEIGHTS:
        raise UserError(
            f"init={config.init} (command line): no file of weights; give a state dict of torchvision's or timm's "
            f"ResNet ({', '.join(WEIGHTS)})"
        )
    digest = sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 24):
            digest.update(block)
    config.inherited.weights = digest.hexdigest()


def missing(config: RunConfig) -> str | None:
    """The data, and at the paper's scale the pre-trained weights; below it a body may be random."""
    if problem := data.missing(config.data):
        return problem
    if config.scale == PAPER and not config.inherited.weights:
        return "it begins from ImageNet's weights: give init=FILE, a state dict of torchvision's or timm's ResNet-50"
    return None


def accept(config: RunConfig, record: Mapping[str, Any]) -> None:
    """Raise UserError for a parent of another architecture, or trained on other classes."""
    theirs, ours = record["config"], dataclasses.asdict(config)
    for section, key in (("model", "name"), ("model", "arguments"), ("data", "name"), ("data", "num_classes")):
        there, here = theirs[section][key], ours[section][key]
        if key == "arguments":
            there, here = ({k: v for k, v in found.items() if k != "frozen_body"} for found in (there, here))
        if there != here:
            raise UserError(
                f"parent={config.parent} (command line): {record['run']} has {section}.{key}={there}, this run "
                f"(scale={config.scale}) {here}; give a parent that agrees"
            )


HEAD = dataclasses.replace(
    INFO,
    name="image_head",
    implementation=IMPLEMENTATION,
    missing=missing,
    begin_from_checkpoint=begin_from_checkpoint,
)
WHOLE = dataclasses.replace(
    INFO,
    name="image_fine_tuning",
    implementation=IMPLEMENTATION,
    parents=("image_head",),
    accept=accept,
)
