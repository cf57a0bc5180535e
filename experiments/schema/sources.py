"""The files of `configs/` as plain trees: one file, or by Hydra `config.yaml` with a file for each group."""

from __future__ import annotations

import functools
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.schema.typed import Tree, leaves


@functools.lru_cache(maxsize=256)
def read(path: Path) -> Tree:
    """The tree of one YAML file. Raises UserError if it is not YAML, or would import or resolve anything."""
    try:
        return plain(OmegaConf.to_container(OmegaConf.load(path), resolve=False), path)
    except (OmegaConfBaseException, YAMLError, OSError) as error:
        raise UserError(f"{paths.relative(path)} cannot be read: {error}") from None


def plain(tree: object, path: Path) -> Tree:
    """Names and values only: a configuration from anywhere cannot make this process import or look up anything."""
    if not isinstance(tree, dict):
        raise UserError(f"{paths.relative(path)} holds no mapping of keys to values")
    for key, value in leaves(tree):
        if "_target_" in key.split(".") or (isinstance(value, str) and "${" in value):
            raise UserError(f"{paths.relative(path)}: {key}: {value}: write names and values, no _target_ and no ${{}}")
    return tree


@functools.lru_cache(maxsize=256)
def composed(configs: Path, **groups: str) -> Tree:
    """The tree of `configs/config.yaml` with the choices `groups`: one section for each, knobs at the top level.

    Raises UserError for what Hydra cannot compose. No other function composes by Hydra, which takes a while to import.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    try:
        with initialize_config_dir(str(configs), version_base="1.3"):
            tree = compose("config", [f"{group}={name}" for group, name in groups.items()])
        return plain(OmegaConf.to_container(tree, resolve=False), configs)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{paths.relative(configs)}: {str(error).splitlines()[0]}") from None
