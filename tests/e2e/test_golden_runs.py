"""One short run of each kind of task, with its events and parameters as they were: a change of the house changes none.

On the processor and the torch that `golden_runs.json` names the events' chain and the parameters are equal to the bit;
elsewhere losses and metrics are close. After a change that is meant to change numbers:
`python tests/e2e/test_golden_runs.py` writes the file anew.
"""

from __future__ import annotations

import json
import platform
import random
import runpy
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from experiments.schema import paths

GOLDEN = Path(__file__).with_name("golden_runs.json")
TINY = [
    *("model.arguments.vocab_size=300", "model.arguments.hidden_size=16", "model.arguments.num_hidden_layers=1"),
    *("model.arguments.num_attention_heads=2", "model.arguments.intermediate_size=32"),
    *("model.arguments.max_position_embeddings=34", "text.sequence_length=32"),
    *("schedule.updates=6", "schedule.warmup_updates=2", "evaluation.every=3"),
]
RUNS = {
    "image_classification": [
        *("exp=vit_small", "optim=adan", "data=digits", "batch_size=16384", "schedule.epochs=2"),
        *("schedule.warmup_epochs=1", "stop_at=12updates"),
    ],
    "ppo": ["exp=ppo_hopper", "optim=adan", "stop_at=1"],
    "masked_language_modelling": [
        *("exp=bert_pretrain", "optim=adan", "global_batch_size=8", "batch_per_device=8", "data=documents"),
        *("data.root={folder}/corpus", "text.held_out_every=10", *TINY),
    ],
    "glue": [
        *("exp=bert_glue", "optim=adan", "task.name=SST-2", "data.root={folder}/sst2", "data.train_size=40"),
        *("data.test_size=20", "parent={masked_language_modelling}", *TINY),
    ],
    "lstm_language_modelling": ["exp=ptb_lstm_1", "optim=adan", "stop_at=5updates"],
    "transformer_xl": [
        "exp=transformer_xl",
        "optim=adan",
        "schedule.updates=4",
        "schedule.warmup_updates=2",
        "evaluation.every=2",
    ],
}


def here() -> dict[str, str]:
    """What bits depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    said = dict(reversed([line.partition("\t")[::2] for line in lines]))  # of the first core
    names = ("model name", "cpu family", "model", "stepping")
    model = " ".join(said[name].strip("\t: ") for name in names if name in said) or platform.machine()
    return {
        "cpu": f"{model}, {torch.backends.cpu.get_cpu_capability()}",
        "c_library": " ".join(platform.libc_ver()),
        "torch": torch.__version__.partition("+")[0],
    }


def write_data(folder: Path) -> None:
    generator, words = random.Random(0), ["good", "bad", "film", "story", "was", "is", "very", "not", "a", "the"]
    texts = [" ".join(generator.choices(words, k=generator.randint(4, 30))).capitalize() + "." for _ in range(120)]
    (folder / "corpus").mkdir()
    (folder / "corpus" / "films.txt").write_text("\n\n".join(texts) + "\n")
    (folder / "sst2").mkdir()
    for file, part in (("train", texts[:40]), ("dev", texts[40:60])):
        rows = [f"{text}\t{int('good' in text)}" for text in part]
        (folder / "sst2" / f"{file}.tsv").write_text("\n".join(["sentence\tlabel", *rows]))


def train_all(folder: Path) -> dict[str, dict]:
    """Train `RUNS` in this process under `folder`; of each its events and the digest of its parameters."""
    paths.RUNS, paths.RESULTS, paths.CACHE = folder / "runs", folder / "results", folder / "cache"
    write_data(folder)
    main = runpy.run_path(str(paths.ROOT / "run.py"))["main"]
    found: dict[str, dict] = {}
    places = {"folder": str(folder)}
    for kind, words in RUNS.items():
        before = set(paths.RUNS.glob("*-seed*"))
        assert main([word.format_map(places) for word in words]) == 0, kind
        (run,) = set(paths.RUNS.glob("*-seed*")) - before
        places[kind] = str(run)
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        record = json.loads((run / "record.json").read_text())
        found[kind] = {"parameters": record["parameters_digest"], "events": events}
    return found


def test_runs_are_what_they_were(tmp_path, monkeypatch):
    for name in ("RUNS", "RESULTS", "CACHE"):
        monkeypatch.setattr(paths, name, getattr(paths, name))  # put back after the test
    golden, found = json.loads(GOLDEN.read_text()), train_all(tmp_path)
    assert found.keys() == golden["runs"].keys()
    if golden["machine"] == here():
        for kind, run in found.items():
            assert run == golden["runs"][kind], kind
        return
    for kind, run in found.items():
        for new, old in zip(run["events"], golden["runs"][kind]["events"], strict=True):
            assert new.keys() == old.keys()
            assert _numbers(new) == pytest.approx(_numbers(old), rel=0.05), kind


def _numbers(event: dict) -> dict[str, float]:
    return {key: value for key, value in event.items() if isinstance(value, int | float)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(json.dumps({"machine": here(), "runs": train_all(Path(scratch))}, indent=1) + "\n")
    sys.exit()
