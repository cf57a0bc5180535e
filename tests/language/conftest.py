"""A small corpus on disk and a tiny RoBERTa, so that pre-training and fine-tuning take a second."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from experiments.launch.inheritance import inherit
from experiments.record.run_directory import RunDirectory
from experiments.schema import paths
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.config import RunConfig

WORDS = [
    "the",
    "a",
    "film",
    "story",
    "was",
    "is",
    "very",
    "not",
    "good",
    "bad",
    "long",
    "short",
    "and",
    "but",
    "of",
    "with",
]
SHAPE = [
    *("model.arguments.vocab_size=300", "model.arguments.hidden_size=16", "model.arguments.num_hidden_layers=1"),
    *("model.arguments.num_attention_heads=2", "model.arguments.intermediate_size=32"),
    *("model.arguments.max_position_embeddings=34", "text.sequence_length=32"),
]
SHORT = ["schedule.updates=6", "schedule.warmup_updates=2", "evaluation.every=3", "checkpoint.every=2"]


def sentence(generator: random.Random) -> str:
    return " ".join(generator.choices(WORDS, k=generator.randint(2, 12))).capitalize() + generator.choice(".!?")


@pytest.fixture(scope="session")
def documents() -> list[str]:
    generator = random.Random(0)
    return [" ".join(sentence(generator) for _ in range(generator.randint(1, 9))) for _ in range(120)]


@pytest.fixture(scope="session")
def corpus(documents: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "films.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs and results of a test in folders of its own."""
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    return tmp_path / "runs"


@pytest.fixture
def pretraining(corpus: Path, cache: Path):
    """Compose a tiny pre-training run, with overrides."""

    def make(*overrides: str) -> RunConfig:
        given = {override.split("=")[0] for override in overrides}
        places = [f"data.root={corpus}", f"data.cache={cache}", "data=documents", "text.held_out_every=10"]
        base = [text for text in [*SHAPE, *SHORT, *places] if text.split("=")[0] not in given]
        (config,) = compose(["exp=bert_pretrain", "global_batch_size=8", "batch_per_device=8", *base, *overrides])
        check(config)
        return inherit([config])[0]

    return make


@pytest.fixture(scope="session")
def labelled(documents: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2 as its files are: 40 samples to train on, 20 held out; good where the text says so."""
    folder = tmp_path_factory.mktemp("glue")
    for file, texts in (("train", documents[:40]), ("dev", documents[40:60])):
        rows = [f"{text}\t{int('good' in text)}" for text in texts]
        (folder / f"{file}.tsv").write_text("\n".join(["sentence\tlabel", *rows]), encoding="utf-8")
    return folder


@pytest.fixture
def fine_tuning(labelled: Path):
    """Compose a tiny fine-tuning run, with overrides."""
    places = ["task.name=SST-2", f"data.root={labelled}", "data.train_size=40", "data.test_size=20"]

    def make(*overrides: str) -> RunConfig:
        given = {override.split("=")[0] for override in overrides}
        shape = SHAPE[-1:] if "init" in given else SHAPE  # a checkpoint says what its model is
        base = [text for text in [*shape, *SHORT, *places] if text.split("=")[0] not in given]
        (config,) = compose(["exp=bert_glue", *base, *overrides])
        check(config)
        return inherit([config])[0]

    return make


@pytest.fixture
def train(runs: Path):
    """Train a run in this process and return its directory."""

    def run(config: RunConfig) -> RunDirectory:
        from experiments.launch.worker import run as work

        directory = RunDirectory.open_or_create(runs, config)
        assert work(directory.path) == 0
        return directory

    return run
