"""Plans in words, or as JSON: the resolved recipe with the source of every value, and what it costs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.launch import local
from experiments.launch.plan import Plan, make
from experiments.optimizers.schedules import rates
from experiments.schema.budget import EPOCHS, UPDATES, budget_of
from experiments.schema.check import OF_UNIT
from experiments.schema.config import RunConfig
from experiments.schema.digest import NOT_IDENTITY
from experiments.schema.experiment_file import read_experiment
from experiments.schema.task_info import info, is_read
from experiments.schema.typed import leaves, to_dict
from experiments.schema.typed import show as shown

LEVELS = {
    "released_log": "green",
    "released_arguments": "green",
    "readme": "green",
    "paper": "green",
    "cited": "cyan",
    "inferred": "yellow",
    "ours": "magenta",
    "command_line": "red",
}


def show(configs: Sequence[RunConfig]) -> int:
    """Print the plan of each configuration: one in full, several as a table, or by `launch.format=json` one JSON object
    (a list for several). Returns 0."""
    plans = [make(config) for config in configs]
    if configs[0].launch.format == "json":
        trees = [plan.as_dict() for plan in plans]
        print(json.dumps(trees[0] if len(trees) == 1 else trees, indent=1, allow_nan=False))
        return 0
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    with console.capture() as text:  # printed by us: rich would end the process when the reader is gone
        if len(plans) == 1:
            _one(console, plans[0])
        else:
            _many(console, plans)
    print(text.get(), end="")
    return 0


def _one(console: Console, plan: Plan) -> None:
    config = plan.config
    console.print(f"[bold]{local.title(config)}[/]\n{config.title}: {config.task}\n")
    for name, text in _cost(plan).items():
        console.print(f"[cyan]{name:<20}[/] {text}")
    console.print("\n[bold]resolved recipe[/]  [dim]each value with the level of its source; without one: a default[/]")
    _recipe(console, config)
    for text in config.disagreements:
        console.print(f"[yellow]sources disagree:[/] {escape(text)}")
    for text in plan.warnings:
        console.print(f"[yellow]warning:[/] {escape(text)}")
    if plan.missing_data:
        console.print(f"[red]missing data:[/] {plan.missing_data}")


def _cost(plan: Plan) -> dict[str, str]:
    config, schedule, task = plan.config, plan.config.schedule, info(plan.config.task)
    first, last = plan.rate_of(1), plan.rate_of(plan.total_updates)
    peak = max(rates(schedule, config.optim["lr"]))
    memory = ", ".join(f"{name.replace('_', ' ')} {_mebibytes(size)}" for name, size in plan.memory.items())
    split = f"micro-batch {plan.micro_batch} x accumulation {plan.accumulation} x {config.launch.devices} rank(s)"
    source = f"{config.data.train_size:,} {task.sample} to train on, {config.data.test_size:,} to test on"
    if config.data.validation_fraction:
        held_out = f"{config.data.validation_size:,} more of the training set to validate on, none to test on"
        source = f"{config.data.trained_size:,} {task.sample} to train on, {held_out}"
    if config.data.vocabulary:
        sizes = (config.data.train_size, config.data.valid_size, config.data.test_size)
        source = "{:,} tokens to train on, {:,} to validate, {:,} to test on; {:,} words".format(
            *sizes, config.data.vocabulary
        )
    if task.describe_data is not None:
        source = task.describe_data(config)
    layers = "" if plan.n_layer_parameters is None else f", {plan.n_layer_parameters:,} without embeddings"
    frozen = plan.n_parameters - plan.n_trained_parameters
    never = f" ({frozen:,} of them never train)" if frozen else ""
    nominal = budget_of(vars(config))
    if nominal.unit == UPDATES:
        every = f"evaluated every {config.evaluation.every:,}, saved every {config.checkpoint.every:,}"
        length = {"updates": f"{plan.total_updates:,} (nominal {nominal.count:,}; {every})"}
    else:
        budget = f"{schedule.epochs} and {schedule.cooldown_epochs} of cool-down; nominal {nominal.count}"
        length = {
            "epochs": f"{config.total_epochs} ({budget})",
            "updates": f"{plan.total_updates:,} ({_range(plan.epochs.updates)} an epoch)",
        }
    return {
        **_scale(config),
        "parameters": f"{plan.n_parameters:,}{never}{layers}",
        **length,
        task.term: f"{plan.total_samples:,}",
        "effective batch": f"{config.global_batch_size} = {split} (nominal {config.batch_size})",
        "learning rate": f"peak {peak:g}, first {first:g}, last {last:g}{_of_layers(plan)}",
        **_momentum(plan),
        **_players(plan),
        **{f"rate at update {update}": f"{rate:g}" for update, rate in plan.as_dict()["lr_at"].items()},
        "memory": f"{_mebibytes(sum(plan.memory.values()))} on each rank, without activations ({memory})",
        "data": f"{config.data.name}, {source}",
        "digest": plan.as_dict()["config_digest"][:12],
    }


def _scale(config: RunConfig) -> dict[str, str]:
    """A line of what the scale made of the experiment, where it says so."""
    reason = read_experiment(config.exp).get(config.scale, {}).get("reason")
    return {f"{config.scale} scale": reason} if reason else {}


def _of_layers(plan: Plan) -> str:
    """What a layer decay does to the rates."""
    scales = plan.lr_scales
    if len(scales) == 1:
        return ""
    return f"; times {scales[0]:.3g} in the first of {len(scales)} layers to {scales[-1]:g} in the last"


def _momentum(plan: Plan) -> dict[str, str]:
    """A line of the momentum where it moves."""
    momenta = [momentum for momentum in plan.momenta if momentum is not None]
    return {"momentum": f"first {momenta[0]:g}, lowest {min(momenta):g}, highest {max(momenta):g}"} if momenta else {}


def _players(plan: Plan) -> dict[str, str]:
    """A line of each of several players."""
    return {
        name: f"{player.optim['name']} on {sum(map(math.prod, shapes.values())):,} parameters, learning rate peak "
        f"{player.optim['lr']:g}, last epoch's {plan.rates_of(player)[-1]:g}"
        for name, (player, shapes) in plan.players.items()
        if name
    }


def _recipe(console: Console, config: RunConfig) -> None:
    """Print every value that changes the numbers of the task, with the level of its source and its number below."""
    task = info(config.task)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold", max_width=60)
    table.add_column(no_wrap=True)
    sources: dict[str, int] = {}
    for key, value in leaves(_what_counts(to_dict(config))):
        if not is_read(key, task):
            continue
        fact = config.provenance.get(key)
        level = ""
        if fact is not None:
            number = sources.setdefault(fact.get("source", ""), len(sources) + 1)
            level = f"[{LEVELS.get(fact['level'], 'white')}]{fact['level']}[/] [dim]\\[{number}][/]"
        table.add_row(key, escape(shown(value)), level)
    console.print(table)
    for source, number in sources.items():
        console.print(f"[{number}] {source}", style="dim", markup=False)


def _what_counts(tree: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in tree.items() if key not in (*NOT_IDENTITY, "scale_factors")}
    kept["data"] = {key: value for key, value in tree["data"].items() if f"data.{key}" not in NOT_IDENTITY}
    other = UPDATES if budget_of(tree).unit == EPOCHS else EPOCHS
    del kept[other]
    kept["schedule"] = {key: value for key, value in tree["schedule"].items() if key not in OF_UNIT[other]}
    return kept


def _many(console: Console, plans: Sequence[Plan]) -> None:
    scales = " and ".join(dict.fromkeys(plan.config.scale for plan in plans))
    table = Table(title=f"{len(plans)} runs, {scales} scale")
    for column in (
        "exp",
        "optim",
        "recipe",
        "budget",
        "batch",
        "lr",
        "seed",
        "parameters",
        "updates",
        "samples",
        "memory",
    ):
        table.add_column(column, no_wrap=True, justify="left" if column in ("exp", "optim", "recipe") else "right")
    for plan in plans:
        config = plan.config
        table.add_row(
            config.exp,
            config.optim["name"],
            config.recipe,
            str(budget_of({"epochs": config.total_epochs, "updates": config.schedule.updates})),
            f"{config.global_batch_size}",
            f"{config.optim['lr']:.4g}",
            f"{config.seed}",
            f"{plan.n_parameters:,}",
            f"{plan.total_updates:,}",
            f"{plan.total_samples:,}",
            _mebibytes(sum(plan.memory.values())),
        )
    console.print(table)
    console.print(
        f"in all: {sum(plan.total_updates for plan in plans):,} updates, "
        f"{sum(plan.total_samples for plan in plans):,} samples"
    )
    for text in dict.fromkeys(warning for plan in plans for warning in plan.warnings):
        console.print(f"[yellow]warning:[/] {text}")
    for text in dict.fromkeys(plan.missing_data for plan in plans if plan.missing_data):
        console.print(f"[red]missing data:[/] {text}")


def _range(counts: Sequence[int]) -> str:
    """One number, or the least and the largest."""
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
