"""Plain trees and typed configurations: every key known, every value of its type, or a UserError that says where.

OmegaConf does the conversions, with `RunConfig` as its schema.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion

Tree = dict[str, Any]

# Keys of `optim` that users of other trainers write without the section.
HYPER_PARAMETERS = ("lr", "betas", "eps", "momentum", "weight_decay", "max_grad_norm", "no_prox")

_WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    list[int]: "a list of integers",
    list[float]: "a list of numbers",
    list[str]: "a list of texts",
    types.NoneType: "null",
}


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of `tree`; an empty mapping is a leaf."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def put(tree: Tree, key: str, value: Any) -> None:
    """Set the value at a dotted key, making the mappings on the way."""
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = value


def get(tree: Tree, key: str) -> Any:
    """The value at a dotted key, or None."""
    node: Any = tree
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def to_config(entries: Iterable[tuple[str, Any, str]]) -> RunConfig:
    """Build a RunConfig from (dotted key, value, origin), later entries winning.

    Raises UserError for a key that RunConfig does not have and for a value of the wrong type; it names the origin.
    """
    schema = OmegaConf.structured(RunConfig)
    for key, value, origin in entries:
        expected = expect_key(key, origin)
        if _not_finite(value):
            raise UserError(f"{key}={value} ({origin}): expected a finite number")
        try:
            _make_parents(schema, key)
            OmegaConf.update(schema, key, value, force_add=True)
        except (OmegaConfBaseException, ValueError, TypeError):
            raise UserError(f"{key}={show(value)} ({origin}): expected {words(expected)}") from None
    config = OmegaConf.to_object(schema)
    assert isinstance(config, RunConfig)
    return config


def expect_key(key: str, origin: str) -> Any:
    """The declared type of a dotted key of RunConfig. Raises UserError for an unknown key, with the nearest one."""
    kind: Any = RunConfig
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        elif kind is Any:
            return Any
        elif _is_section(kind):
            hints = _hints(kind)
            if part not in hints:
                raise UserError(f"{key} ({origin}): no such key{_nearest(parts, depth, hints)}")
            kind = hints[part]
        else:
            parent = ".".join(parts[:depth])
            raise UserError(f"{key} ({origin}): {parent} holds {words(kind)}, it has no keys")
    return kind


def optimizer_value(key: str, value: Any, defaults: Tree, origin: str) -> Any:
    """`value` of a hyper-parameter in the type of its default in `configs/optim`.

    Raises UserError for a key that this optimizer does not have and for a value of another type.
    """
    name, _, inner = key.removeprefix("optim.").partition(".")
    if name not in defaults or (inner and not isinstance(defaults[name], dict)):
        raise UserError(f"{key} ({origin}): {defaults['name']} has no such hyper-parameter{suggestion(name, defaults)}")
    if inner:
        return value
    try:
        return _like(defaults[name], value)
    except TypeError:
        kind = [float] * len(defaults[name]) if isinstance(defaults[name], list) else type(defaults[name])
        expected = f"a list of {len(kind)} numbers" if isinstance(kind, list) else words(kind)
        raise UserError(f"{key}={show(value)} ({origin}): expected {expected}") from None


def to_dict(config: RunConfig) -> Tree:
    """The tree of `config`: plain types only, ready for JSON."""
    return dataclasses.asdict(config)


def from_dict(tree: Tree, origin: str = "config.json") -> RunConfig:
    """Inverse of `to_dict`. Raises UserError for unknown keys and wrong types; absent keys take their defaults."""
    return to_config((key, value, origin) for key, value in _to_fields(tree))


def words(kind: Any) -> str:
    """A type in words: `an integer`, `a number or null`."""
    if isinstance(kind, types.UnionType):
        return " or ".join(words(part) for part in typing.get_args(kind))
    if typing.get_origin(kind) is dict or _is_section(kind):
        return "a mapping"
    return _WORDS.get(kind, "another type")


def show(value: Any) -> str:
    """A value as one types it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _like(default: Any, value: Any) -> Any:
    """`value` converted to the type of `default`; a null default takes any value, numbers never become flags."""
    if default is None:
        return value
    if isinstance(default, list):
        if not isinstance(value, list) or len(value) != len(default):
            raise TypeError
        return [_like(inner, given) for inner, given in zip(default, value, strict=True)]
    if isinstance(default, float) and type(value) in (int, float):
        return float(value)
    if type(value) is not type(default):
        raise TypeError
    return value


def _is_section(kind: Any) -> TypeGuard[type]:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _not_finite(value: Any) -> bool:
    if isinstance(value, list):
        return any(_not_finite(item) for item in value)
    return isinstance(value, float) and not math.isfinite(value)


def _to_fields(tree: Tree) -> Iterator[tuple[str, Any]]:
    """Entries for `to_config`: into dataclasses by key, everything else whole."""
    for key, value in tree.items():
        kind = _hints(RunConfig).get(key)
        if _is_section(kind) and isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _make_parents(schema: Any, key: str) -> None:
    """Give a mapping of sections (`metrics`) the section that `key` is about to set."""
    parent, _, _ = key.rpartition(".")
    kind = expect_key(parent, "") if parent else None
    if _is_section(kind) and OmegaConf.select(schema, parent) is None:
        OmegaConf.update(schema, parent, kind(), force_add=True)


def _nearest(parts: list[str], depth: int, hints: dict[str, Any]) -> str:
    """The nearest key beside the unknown one, or one of that name in another section (`schedule.warmup_epochs`)."""
    part = parts[depth]
    if depth == 0:
        for section, kind in hints.items():
            if _is_section(kind) and part in _hints(kind):
                return f"; did you mean '{section}.{part}'?"
        if part in HYPER_PARAMETERS:
            return f"; did you mean 'optim.{part}'?"
    before, after = ".".join([*parts[:depth], ""]), ".".join(["", *parts[depth + 1 :]])
    return suggestion(part, hints).replace("did you mean '", f"did you mean '{before}").replace("'?", f"{after}'?")
