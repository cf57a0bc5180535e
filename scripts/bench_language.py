"""Speed of the language tasks: `python scripts/bench_language.py [--parts lstm ...] [--rounds 5] [--updates 6]`.

Each part trains the same network in two ways in one process, in turn: by the suite's loop and as one writes it plainly.
Reported are seconds of processor time (others may use the machine) an update, and the median of the ratios of a round,
plain over ours: more than 1 means that ours is faster. Building, evaluation and checkpoints are outside both. Further
arguments are overrides of run.py, after the part's own.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path

import checkout  # noqa: F401
import numpy as np
import torch
from plain_lstm import PlainTrainer
from plain_transformer_xl import einsum_attention, never_fused

from experiments import tasks
from experiments.models.transformer_xl import Reading, TransformerXL
from experiments.record.provenance import cpu_name
from experiments.record.run_directory import RunDirectory
from experiments.schema.batches import micro_batch
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part

Perform = Callable[[int], None]  # the next so many updates

# The text is real, as long as Penn Treebank and of as many words: speed does not depend on which words they are.
AS_LONG_AS_PTB = ["data=movie_reviews", "data.train_size=929589", "data.vocabulary=10000"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5, help="interleaved pairs")
    parser.add_argument("--updates", type=int, default=6, help="updates a side and round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write the table there, too")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = _heading(arguments)
    print("\n".join(lines), flush=True)
    for name in arguments.parts:
        with PARTS[name](arguments.overrides) as (ours, plain, tokens):
            lines.append(_row(name, *_times(ours, plain, arguments.rounds, arguments.updates), tokens))
        print(lines[-1], flush=True)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text("\n".join(lines) + "\n")


@contextmanager
def lstm(overrides: list[str]) -> Iterator[tuple[Perform, Perform, float]]:
    """The one-layer LSTM of Table 8 with Adam; plainly with `torch.nn.LSTM`, weight drop included."""
    choices = ["exp=ptb_lstm_1", "optim=adam", "scale=paper", *AS_LONG_AS_PTB, "model.arguments.train_recurrent=true"]
    with _loop([*choices, *overrides]) as run:
        config = run.config
        config_plain = compose([*choices, *overrides])[0]
        del config_plain.model.arguments["train_recurrent"]
        plain = PlainTrainer(config_plain, run.task.columns)  # type: ignore[attr-defined]
        yield _of(run), plain.perform, config.global_batch_size * config.bptt.length


# The base model with 4 of its 60 sequences; the vocabulary is smaller, for its weights are the optimizer's business.
FOUR_SEQUENCES = ["exp=transformer_xl", "scale=paper", "optim=adan", *AS_LONG_AS_PTB, "global_batch_size=4"]


@contextmanager
def transformer_xl(overrides: list[str]) -> Iterator[tuple[Perform, Perform, float]]:
    """Training of Transformer-XL-base; plainly with the einsums of its authors."""
    with _loop([*FOUR_SEQUENCES, *overrides]) as run:
        yield _of(run), _within(einsum_attention, _of(run)), 4 * run.config.segments.length


@contextmanager
def transformer_xl_reading(overrides: list[str]) -> Iterator[tuple[Perform, Perform, float]]:
    """Its evaluation at 64/640 with memory filled, an update being a segment of ten columns; plainly never fused."""
    with _loop([*FOUR_SEQUENCES, *overrides]) as run:
        how, module = run.config.segments, run.task.module.eval()
        reading = Reading(how.long_memory, same_length=True, clamp=how.long_clamp)
        assert isinstance(module, TransformerXL)
        tokens = torch.zeros(10, how.long_length, dtype=torch.int64)
        memory = torch.randn(len(module.layers), 10, how.long_memory, module.d_model)

        @torch.no_grad()
        def read(segments: int) -> None:
            for _ in range(segments):
                module(tokens, tokens, memory, reading)

        yield read, _within(never_fused, read), tokens.numel()


@contextmanager
def transformer_xl_bf16(overrides: list[str]) -> Iterator[tuple[Perform, Perform, float]]:
    """Training in bf16; plainly in fp32."""
    with (
        _loop([*FOUR_SEQUENCES, "precision=bf16", *overrides]) as half,
        _loop([*FOUR_SEQUENCES, "precision=fp32", *overrides]) as full,
    ):
        yield _of(half), _of(full), 4 * half.config.segments.length


@contextmanager
def bert(overrides: list[str]) -> Iterator[tuple[Perform, Perform, float]]:
    """Pre-training at mini scale with AdamW; plainly by transformers' Trainer (needs accelerate)."""
    from plain_bert import TransformersTrainer

    with _loop(["exp=bert_pretrain", "optim=adam", *overrides]) as run:
        task, config = run.task, run.config
        rows = task.train.rows(np.arange(min(2000, len(task.train))))  # type: ignore[attr-defined]
        tokens = (rows != task.vocabulary.padding).sum(axis=1).mean()  # type: ignore[attr-defined]
        theirs = TransformersTrainer(config, task, updates=run.total_updates)  # type: ignore[arg-type]
        yield _of(run), theirs.perform, config.global_batch_size * float(tokens)


PARTS = {
    "lstm": lstm,
    "transformer_xl": transformer_xl,
    "transformer_xl_reading": transformer_xl_reading,
    "transformer_xl_bf16": transformer_xl_bf16,
    "bert": bert,
}


def _within(form: Callable[[], AbstractContextManager[None]], perform: Perform) -> Perform:
    """`perform` in a context."""

    def within(updates: int) -> None:
        with form():
            perform(updates)

    return within


@contextmanager
def _loop(choices: list[str]) -> Iterator[Run]:
    """The suite's own loop over a run that nothing keeps."""
    (config,) = compose(choices)
    check(config)
    part = Part(micro_batch=micro_batch(config, 1))
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory.open_or_create(Path(folder), config)
        with directory.hold():
            run = Run([(config, directory)], tasks.build(config, part), part)
            run.resume()
            yield run


def _of(run: Run) -> Perform:
    def perform(updates: int) -> None:
        with Interruption() as interruption:
            run.perform(interruption, until=run.update + updates)

    return perform


def _times(ours: Perform, plain: Perform, rounds: int, updates: int) -> tuple[list[float], list[float]]:
    """Seconds of processor time an update, of every round; the first round warms up."""
    times: dict[Perform, list[float]] = {ours: [], plain: []}
    for number in range(-1, rounds):
        for perform in (ours, plain) if number % 2 else (plain, ours):
            begin = time.process_time()
            perform(updates)
            if number >= 0:
                times[perform].append((time.process_time() - begin) / updates)
    return times[ours], times[plain]


def _row(name: str, ours: list[float], plain: list[float], tokens: float) -> str:
    """A line of the table: medians of both sides, and the median, least and greatest ratio of a round."""
    ratios = [theirs / own for own, theirs in zip(ours, plain, strict=True)]
    cells = [name]
    for seconds in (ours, plain):
        median = statistics.median(seconds)
        cells.append(f"{1e3 * median:.1f} ms, {tokens / median:,.0f} tokens/s")
    cells.append(f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    cells.append((PARTS[name].__doc__ or "").rstrip("."))
    return "| " + " | ".join(cells) + " |"


def _heading(arguments: argparse.Namespace) -> list[str]:
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", "transformers"))
    return [
        "# Speed of the language tasks",
        "",
        f"Processor time of one update, medians of {arguments.rounds} interleaved rounds of {arguments.updates} "
        "updates; ratio: plain over ours, so that more than 1 means that ours is faster (median, least and greatest of "
        "a round). "
        f"{cpu_name()}, {os.cpu_count()} logical CPUs, {arguments.threads} thread(s), load {os.getloadavg()[0]:.1f} at "
        f"the start, Python {platform.python_version()}, {versions}.",
        "",
        " ".join(["`python scripts/bench_language.py", *map(shlex.quote, sys.argv[1:])]) + "`",
        "",
        "| part | ours | plain | plain / ours | what |",
        "|---|---|---|---|---|",
    ]


if __name__ == "__main__":
    main()
