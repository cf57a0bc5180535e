"""Hydra's composition of `configs/config.yaml` with one file per group. The only module that composes by Hydra."""

from __future__ import annotations

import functools
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.schema.sources import plain
from experiments.schema.typed import Tree


@functools.lru_cache(maxsize=256)
def composed(configs: Path, **groups: str) -> Tree:
    """The tree of the choices `groups`: one section for each, knobs at the top level."""
    try:
        with initialize_config_dir(str(configs), version_base="1.3"):
            tree = compose("config", [f"{group}={name}" for group, name in groups.items()])
        return plain(OmegaConf.to_container(tree, resolve=False), configs)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{paths.relative(configs)}: {str(error).splitlines()[0]}") from None
