"""The command line: `key=value` arguments in Hydra's grammar, swept with `-m`, into one `Point` per run."""

from __future__ import annotations

import difflib
import shlex

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException

from experiments.schema import names
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.point import Point
from experiments.schema.typed import expect_key, words

# Choices that pick a file or a part of one; every other key sets a value of the resolved configuration.
CHOICES = (*names.GROUPS, "recipe", "epochs", "updates", "batch_size", "lr_scaling", "stage")
RENAMED = {"search": "tune"}
ALIASES = {"task.name": "recipe"}  # of an experiment whose recipes are tasks, `bert_glue`
MULTIRUN = ("-m", "--multirun")


def parse(arguments: list[str]) -> list[Point]:
    """Points of the sweep that `arguments` describe; one without `-m`. A tuning (`tune=`) is a sweep by itself.

    Raises UserError for an unknown flag, an argument that is no `key=value`, a sweep without `-m`, and for what a
    configuration here may not hold: `_target_`, interpolations, deletions and new keys.
    """
    multirun = any(argument in MULTIRUN or argument.startswith("tune=") for argument in arguments)
    texts = [argument for argument in arguments if argument not in MULTIRUN]
    overrides = [_parse_one(text, multirun) for text in texts]
    _refuse_repeated(overrides)
    for override in overrides:
        if override.is_sweep_override() and not multirun:
            key, value = override.get_key_element(), (override.input_line or "").partition("=")[2]
            one = f", or if it is one text quote it: {_quoted_for_the_shell(key, value)}" if _is_text(key) else ""
            raise UserError(
                f"{override.input_line} (command line) is a sweep over several runs; add -m (--multirun){one}"
            )
    try:
        [batch] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    except HydraException as error:
        raise UserError(f"command line: {_first_line(error)}") from None
    if not batch:
        raise UserError("command line: the sweep is empty")
    return [_point(line) for line in batch]


def _parse_one(text: str, multirun: bool) -> Override:
    if text.startswith("-"):
        near = difflib.get_close_matches(text, [*MULTIRUN, "--help", "--optimizers"], n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else "there are -m (--multirun), --help and --optimizers"
        raise UserError(f"{text} (command line): no such flag; {hint}")
    if "_target_" in text:
        raise UserError(f"{text} (command line): configurations name things, they do not import them: no _target_")
    if "${" in text:
        raise UserError(f"{text} (command line): interpolations are not resolved here; write the value itself")
    if "=" not in text.lstrip("~+"):
        raise UserError(f"{text} (command line) is not key=value{_meant(text)}")
    key, _, value = text.partition("=")
    return _allowed(_text(key, value, multirun) if _is_text(key) else _other(key, value), text)


def _text(key: str, value: str, multirun: bool) -> Override:
    """A text, such as a folder, stands for itself: what Hydra's grammar has no word for, or would make a number, a flag
    or a list of, needs no quotes. Quotes, escapes, `null` and sweeps are Hydra's."""
    if not value.strip(" \t'\""):
        raise UserError(
            f"{key}={value} (command line) is empty: give a value or leave it out; was a variable of the shell not set?"
        )
    try:
        override = _by_hydra(f"{key}={value}")
    except HydraException:
        if multirun and "," in value:
            each = ",".join(_quoted(one, Quote.double) for one in value.split(","))
            raise UserError(
                f"{key}={value} (command line) cannot be read as a sweep; quote each: {shlex.quote(f'{key}={each}')}, "
                f"or if it is one text: {_quoted_for_the_shell(key, value)}"
            ) from None
        return _by_hydra(f"{key}={_quoted(value, Quote.single)}")
    if override.is_sweep_override() or isinstance(override.value(), str | None):
        return override
    return _by_hydra(f"{key}={_quoted(value, Quote.single)}")


def _other(key: str, value: str) -> Override:
    try:
        return _by_hydra(f"{key}={value}")
    except HydraException as error:
        name = key.lstrip("~+")
        _known_key(name, f"{key}={value}")
        if name in CHOICES or name in ALIASES:
            raise UserError(f"{key}={value} (command line) cannot be read: expected a name or a number") from None
        if name.startswith(("model.arguments.", "optim.")):
            quoted = _quoted_for_the_shell(key, value)
            raise UserError(
                f"{key}={value} (command line) cannot be read: {_first_line(error)}; if it is text, quote it: {quoted}"
            ) from None
        expected = words(expect_key(name, "command line"))
        raise UserError(f"{key}={value} (command line) cannot be read: expected {expected}") from None


def _by_hydra(text: str) -> Override:
    [override] = OverridesParser.create().parse_overrides([text])
    return override


def _is_text(key: str) -> bool:
    """Whether a key holds a text, and is no name of a file in `configs`."""
    if key in CHOICES or key in ALIASES:
        return False
    try:
        return words(expect_key(key, "command line")) in ("text", "text or null")
    except UserError:
        return False


def _quoted(value: str, quote: Quote) -> str:
    """`value` as one text in Hydra's grammar."""
    return QuotedString(text=value, quote=quote).with_quotes()


def _quoted_for_the_shell(key: str, value: str) -> str:
    return shlex.quote(f"{key}={_quoted(value, Quote.double)}")


def _allowed(override: Override, text: str) -> Override:
    key = override.key_or_group
    _known_key(key, text)
    if override.type is OverrideType.DEL:
        raise UserError(f"{text} (command line): nothing can be deleted; set the key to the value it should have")
    if override.package is not None:
        raise UserError(f"{text} (command line): packages (@) are not used here; write {key}=...")
    if override.type is not OverrideType.CHANGE and not key.startswith("model.arguments."):
        raise UserError(
            f"{text} (command line): only model.arguments takes new keys; to change a key that exists, "
            f"write {text.lstrip('+')}"
        )
    if override.is_sweep_override() and (not override.is_discrete_sweep() or isinstance(override.value(), Glob)):
        raise UserError(f"{text} (command line): sweep with a comma list, choice(...) or range(...)")
    return override


def _known_key(key: str, text: str) -> None:
    top = key.split(".")[0]
    if key in ALIASES or (top in CHOICES and "." not in key):
        return
    if top == "hydra":
        raise UserError(f"{text} (command line): Hydra's own settings are not used here; runs go to runs/")
    if key in RENAMED:
        raise UserError(f"{text} (command line): {key}= is {RENAMED[key]}= now")
    if top not in RunConfig.__dataclass_fields__:
        near = difflib.get_close_matches(top, CHOICES, n=1, cutoff=0.7)
        if near:
            raise UserError(f"{text} (command line): no such key; did you mean {near[0]!r}?")
    if top != "optim":  # those keys depend on the optimizer
        expect_key(key, "command line")


def _refuse_repeated(overrides: list[Override]) -> None:
    seen: dict[str, str | None] = {}
    for override in overrides:
        key = ALIASES.get(override.key_or_group, override.key_or_group)
        if key in seen:
            raise UserError(f"{key} is given twice on the command line: {seen[key]} and {override.input_line}")
        seen[key] = override.input_line


def _point(lines: list[str]) -> Point:
    point = Point()
    for line in lines:
        [override] = OverridesParser.create().parse_overrides([line])
        key = ALIASES.get(override.key_or_group, override.key_or_group)
        where = point.choices if key in CHOICES else point.values
        where[key] = override.value()
    return point


def _meant(text: str) -> str:
    for group in names.GROUPS:
        near = difflib.get_close_matches(text, names.choices(group), n=1, cutoff=0.7)
        if near:
            return f"; did you mean {group}={near[0]}?"
    return "; see `python run.py --help`"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
