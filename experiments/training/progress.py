"""Show a person a run while it goes on: a live bar on a terminal, one line per evaluation in a log file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.schema.config import RunConfig
from experiments.training.task import EachRun


class RunProgress:
    """Context manager around the loop of one run; silent on every rank but 0."""

    def __init__(self, title: str, total_updates: int, start: int, shown: bool) -> None:
        self._console = Console(quiet=not shown, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} {task.fields[metrics]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (shown and self._console.is_terminal),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=total_updates, completed=start, rate="", metrics="")

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._bar.stop()

    def updated(self, update: int, loss: float, samples: int) -> None:
        """Move the bar to `update`, which had `samples` samples and the mean loss `loss`."""
        if self._bar.disable:
            return
        speed = self._bar.tasks[0].speed
        rate = f"{speed * samples:,.0f} samples/s" if speed else ""
        self._bar.update(self._task, completed=update, rate=rate, metrics=f"loss {loss:.4f}")

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self._console.print(line, soft_wrap=True)


def title_of(configs: Sequence[RunConfig]) -> str:
    """A name for runs that train as one batch."""
    seeds = sorted({config.seed for config in configs})
    rates = sorted({config.optim["lr"] for config in configs})
    text = f"{configs[0].exp} {configs[0].optim['name']} seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return text if len(rates) == 1 else f"{text}, lr {', '.join(f'{rate:g}' for rate in rates)}"


def metrics_line(metrics: Mapping[str, Any], left: Callable[[Sequence[Any]], list[Any]]) -> str:
    """Metrics as text; where each run of a batch has its own value, the mean over those that are `left`."""
    return "  ".join(f"{name} {_shown(value, left)}" for name, value in metrics.items())


def _shown(metric: Any, left: Callable[[Sequence[Any]], list[Any]]) -> str:
    values = left(metric) if isinstance(metric, EachRun) else [metric]
    number = sum(values) / len(values)
    return f"{number:,}" if isinstance(metric, int) else f"{number:.4g}{' (mean)' if len(values) > 1 else ''}"
