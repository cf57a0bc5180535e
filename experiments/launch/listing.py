"""`python run.py --help`: what there is to choose from, read from `configs/`."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.optimizers import registry
from experiments.schema import names, paths
from experiments.schema.budget import budget_of
from experiments.schema.experiment_file import budgets, read_experiment
from experiments.schema.scales import SCALES, about, scales_of
from experiments.schema.studies import load_study, study_names
from experiments.schema.tables import load_table, table_names
from experiments.schema.typed import show as shown

USAGE = {
    "python run.py exp=NAME [optim=NAME] [key=value ...]": "one run, to its record and verdict",
    "python run.py table=NAME [scale=NAME] [key=value ...]": "every cell of a table that is not done yet",
    "python run.py -m key=value,value ...": "every combination; also key=range(0,3) and key=choice(a,b)",
}

WIDTH = 15
KEYS = {
    "exp": "experiment (required unless table= or tune= is given)",
    "optim": "optimizer; its hyper-parameters are optim.lr, optim.weight_decay, ...",
    "table": "a table of the paper; exp=, optim=, epochs= or updates= beside it pick some of its cells",
    "tune": "equal: the same trials for every optimizer, then fresh seeds; or a declared grid; exp=, optim= pick some",
    "stage": "of a table that is a study (f2): one of its stages alone",
    "scale": "mini by default; listed above",
    "recipe": "one of the experiment's recipes",
    "task.name": "the same of bert_glue, whose recipes are tasks of GLUE",
    "parent": "run that bert_glue or cars_resnet50 goes on from; init=: weights, a folder of transformers or a file",
    "epochs": "nominal budget, one of the recipe's; of an experiment that counts updates: updates=",
    "batch_size": "nominal; another than the recipe's scales the rate by lr_scaling (sqrt, linear, none)",
    "seed": "0 by default",
    "data": "data set; data.root=FOLDER or data.hub=REPOSITORY says where ImageNet is",
    "precision": "fp32, bf16, fp16 or fp64",
    "stop_at": "end early, without touching the schedule: 3epochs or 500updates (as run)",
    "force": "true runs a finished run again, beside the first",
    "capture": "auto (default), true or false: record updates in CUDA graphs, on a GPU",
    "launch": "local (default) or plan; launch.devices=N ranks, launch.jobs=N runs at a time, launch.micro_batch,",
    "": "launch.threads, launch.device=cpu|cuda; for plans launch.format=json, launch.lr_at=[1,500]",
    "track": "none (default), tensorboard, or wandb; track.mode=offline",
    "<any other>": "a value of the resolved configuration, as launch=plan shows it: schedule.warmup_epochs=5",
}

EXAMPLES = (
    "python run.py exp=vit_small optim=adan",
    "python run.py exp=vit_small optim=adan scale=paper launch=plan",
    "python run.py exp=vit_small optim=adan scale=paper data.root=/data/imagenet launch.devices=8",
    "python run.py exp=resnet50 optim=sgd epochs=100 optim.lr=0.5",
    "python run.py -m exp=vit_small optim=adan,adamw seed=0,1,2 launch.jobs=2",
    "python run.py table=t4 launch.jobs=2",
)


def show() -> int:
    """Print usage, experiments, optimizers, tables, keys and examples."""
    console = _console()
    console.print("Does the optimizer paper hold up? One command from a row of the paper to a verdict.\n")
    for command, meaning in USAGE.items():
        console.print(f"  {command:<55} {meaning}", markup=False)
    _experiments(console)
    _section(console, "tables", "table=")
    for name in table_names():
        table = load_table(name)
        console.print(f"  [cyan]{name:<{WIDTH}}[/] {table.title} ({len(table.cells)} cells)")
    for name in study_names():
        study = load_study(name)
        stages = ", ".join(stage.name for stage in study.stages)
        console.print(f"  [cyan]{name:<{WIDTH}}[/] {study.title} (stages: {stages})")
    _section(console, "optimizers", "optim=", "facts about each: python run.py --optimizers")
    console.print("  [cyan]" + "  ".join(names.choices("optim")) + "[/]")
    _section(
        console,
        "scales",
        "scale=",
        "compared within a scale; only paper with the paper",
    )
    for scale in SCALES:
        having = sum(scale in scales_of(read_experiment(name)) for name in names.choices("exp"))
        console.print(f"  [cyan]{scale:<{WIDTH}}[/] {about(scale)['summary']} ({having} experiments)")
    console.print()
    for group in ("tune", "data", "launch", "track"):
        console.print(f"  {group + '=':<{WIDTH}} [cyan]{'  '.join(names.choices(group))}[/]")
    _section(console, "keys")
    for key, meaning in KEYS.items():
        console.print(f"  [cyan]{key:<{WIDTH}}[/] {meaning}")
    _section(console, "examples")
    for example in EXAMPLES:
        console.print(f"  {example}")
    return 0


def show_optimizers() -> int:
    """Print the facts about every optimizer: what each costs in one table, then papers, defaults and differences."""
    console = _console()
    entries = [registry.info(name) for name in registry.names()]
    costs = Table(box=None, pad_edge=False)
    for column in ("optim=", "library", "version", "states", "element-wise", "capturable"):
        costs.add_column(column, justify="right" if column == "states" else "left", no_wrap=True)
    for info in entries:
        each, captured = ("yes" if fact else "no" for fact in (info.elementwise, info.capturable))
        costs.add_row(f"[cyan]{info.name}[/]", info.library, info.version, f"{info.states:.3g}", each, captured)
    console.print(costs)
    console.print(
        "\nstates: floats kept for each parameter at the defaults, for a 1024 x 1024 matrix where that depends on the "
        "shape; four bytes each in fp32. element-wise: parts of a tensor may be stepped apart, as in a sharded run. "
        "capturable: a step can be captured in a CUDA graph. "
        "library: experiments and adan are this repository."
    )
    for info in entries:
        facts = Table(box=None, pad_edge=False, show_header=False)
        facts.add_column(no_wrap=True, style="dim")
        facts.add_column(overflow="fold")
        facts.add_row("  paper", escape(info.paper))
        facts.add_row("  defaults", escape(" ".join(f"{key}={_typed(value)}" for key, value in info.defaults.items())))
        facts.add_row("  differences", escape(info.differences))
        console.print(f"\n[bold cyan]{info.name}[/]")
        console.print(facts)
    console.print("\nDefaults hold where an experiment sets nothing.")
    return 0


def _typed(value: object) -> str:
    """A default as the command line takes it."""
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return f"'{value}'" if isinstance(value, str) and not value.isidentifier() else shown(value)


def _experiments(console: Console) -> None:
    _section(console, "experiments", "exp=", "budgets with the default in bold; optimizers with settings in the recipe")
    for name in names.choices("exp"):
        tree = read_experiment(name, paths.CONFIGS)
        console.print(f"  [cyan]{name:<{WIDTH}}[/] {tree['title']}")
        for recipe_name, recipe in tree["recipes"].items():
            default_budget = budget_of(recipe)
            listed = ", ".join(
                f"[bold]{budget.count}[/]" if budget == default_budget else str(budget.count)
                for budget in budgets(recipe)
            )
            default = " (default)" if recipe_name == tree["default_recipe"] else ""
            optimizers = " ".join(recipe.get("optimizers") or {})
            console.print(
                f"  {'':<{WIDTH}} [dim]recipe={recipe_name}{default}: {listed} {default_budget.unit}; {optimizers}[/]",
                soft_wrap=True,
            )


def _section(console: Console, title: str, key: str = "", note: str = "") -> None:
    console.print(f"\n[bold]{title}[/] [cyan]{key}[/]" + (f"  [dim]{note}[/]" if note else ""))


def _console() -> Console:
    wide = int(os.environ.get("COLUMNS", "0")) or 140
    return Console(highlight=False, width=None if sys.stdout.isatty() else wide)
