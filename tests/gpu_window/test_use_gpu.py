"""`scripts/use_gpu.py`, a real process, where there is no GPU: what it begins, what it leaves, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.data.cifar10 import ARCHIVE
from experiments.schema import paths
from experiments.schema.errors import UserError

sys.path.insert(0, str(paths.ROOT / "scripts"))
import archive_parts
import gpu_work
import use_gpu
from gpu_work import CIFAR10, Work

CONTENT = bytes(range(256)) * 41


def use(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "ADAN_RUNS": str(tmp_path / "runs"), "ADAN_RESULTS": str(tmp_path / "results")}
    command = [sys.executable, str(paths.ROOT / "scripts" / "use_gpu.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def test_without_a_gpu_it_says_so_in_a_sentence_and_begins_nothing(tmp_path):
    done = use(tmp_path)
    if "Traceback" not in done.stderr and done.returncode == 0:
        pytest.skip("there is a GPU")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "torch sees no GPU here; choose --device=cpu" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_begun_that_cannot_end_and_all_that_is_left_is_named(tmp_path):
    done = use(tmp_path, "--device", "cpu", "--minutes", "1", "--only", "runs")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "runs").exists()
    for words in ("fast.ai CIFAR-10", "3.0 min (a guess)", "VGG-11", "ResNet-34", "table t4, scale=small"):
        assert words in done.stdout
    assert "min left]" not in done.stdout, "no command was run"


def test_data_that_have_not_arrived_are_named_and_leave_the_runs_that_need_them(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / f"{ARCHIVE}.2of3").write_bytes(b"x")
    absent = use_gpu.arrived(data)
    assert absent[CIFAR10] == f"not there yet: {ARCHIVE}.1of3, {ARCHIVE}.3of3"
    assert absent["ptb"] == "not there yet: ptb.train.txt, ptb.valid.txt, ptb.test.txt or ptb.zip"
    for part in (1, 3):
        (data / f"{ARCHIVE}.{part}of3").write_bytes(b"x")
    with pytest.raises(UserError, match=f"the 3 parts of {ARCHIVE} have sha256 [0-9a-f]+ together, expected 141f061f"):
        use_gpu.arrived(data)
    assert not (data / ARCHIVE).exists()
    with pytest.raises(UserError, match=r"--data .*nowhere: no such folder"):
        use_gpu.arrived(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [len(CONTENT), 4000, 1])
def test_parts_that_arrive_one_after_another_make_the_file(tmp_path, size):
    size = max(size, len(CONTENT) // 40)
    whole, sent, here = tmp_path / "set.tgz", tmp_path / "sent", tmp_path / "here"
    whole.write_bytes(CONTENT)
    parts = archive_parts.split(whole, sent, size)
    assert max(part.stat().st_size for part in parts) <= size
    here.mkdir()
    for turn, part in enumerate(reversed(parts)):
        assert len(archive_parts.missing(here, "set.tgz")) == (len(parts) - turn if turn else 1)
        part.rename(here / part.name)
    assert archive_parts.missing(here, "set.tgz") == []
    assert archive_parts.join(here, "set.tgz").read_bytes() == CONTENT


def test_parts_of_two_cuts_are_refused(tmp_path):
    for name in ("set.tgz.1of3", "set.tgz.2of2"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"parts of set\.tgz of 2 and 3; keep one set"):
        archive_parts.missing(tmp_path, "set.tgz")


def test_finished_runs_are_known_by_their_sealed_records_and_tell_how_long_others_take():
    def work(*more: str) -> Work:
        return Work("", ("exp=vit_small", "optim=adan", *more), CIFAR10, 100.0)

    (record,) = {
        found.name for found in (paths.ROOT / "results" / "records").glob("vit_small-adan-mini-0290ddf10fb2-seed0")
    }
    config = gpu_work.configuration(work(), "mini", None)
    assert gpu_work.finished(config).name == record
    other = gpu_work.configuration(work("seed=987654"), "mini", None)
    assert gpu_work.finished(other) is None
    card = gpu_work._card(gpu_work._record(gpu_work.finished(config))["hardware"])
    minutes, known = gpu_work.minutes(other, work("seed=987654"), card, [])
    assert known == "measured by a run on this card"
    assert 0.5 < minutes < 10
    assert gpu_work.minutes(other, work("seed=987654"), "another card", []) == (100.5, "a guess")


def test_a_benchmark_of_the_experiment_is_better_than_a_guess():
    work = Work("", ("exp=cifar10_resnet34", "optim=adan"), CIFAR10, 9.5)
    config = gpu_work.configuration(work, "paper", None)
    rows = [{"exp": "exp=cifar10_resnet34", "eager": [20.0], "captured": [6.0, 6.0, 7.0]}]
    minutes, known = gpu_work.minutes(config, work, "a card", rows)
    assert known.startswith("benchmark")
    assert minutes == pytest.approx(0.5 + 1.15 * 1.25 * 200 * 391 * 6e-3 / 60)
    assert gpu_work.minutes(config, work, "a card", [{**rows[0], "left_out": "why"}])[1] == "a guess"


def test_every_run_that_is_declared_can_be_composed():
    works = list(gpu_work.declared())
    assert len({(work.overrides, work.group) for work in works}) == len(works)
    for work in works:
        scale = gpu_work.scale_of(work, cpu=False)
        if scale is not None:
            assert gpu_work.configuration(work, scale, None).scale == scale
    groups = list(dict.fromkeys(work.group for work in works))
    assert groups[:4] == ["fast.ai CIFAR-10", "VGG-11", "Penn Treebank", "ResNet-34"]


@pytest.mark.slow
def test_at_the_deadline_what_runs_leaves_a_checkpoint_and_goes_on_from_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))
    command = ["run.py", "exp=vit_small", "optim=adan", "launch.threads=1"]
    window = use_gpu.Window(minutes=(use_gpu.CHECKPOINT + 25) / 60)
    begin = time.monotonic()
    assert window.run("short", command) is None
    assert time.monotonic() - begin < use_gpu.CHECKPOINT + 25
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoints/update-*")
    assert window.outcomes[0][:2] == ("short", "time was up")
    assert use_gpu.Window(minutes=5).run("long", command) == 0
    assert list((tmp_path / "results" / "records").glob("vit_small-*/record.json"))
    assert '"restart"' in next((tmp_path / "runs").glob("*/timing.jsonl")).read_text()
    assert checkpoint.name


@pytest.mark.slow
def test_a_rehearsal_ends_in_time_and_passes_over_what_it_has_done(tmp_path):
    begin = time.monotonic()
    first = use(tmp_path, "--device", "cpu", "--minutes", "5")
    assert first.returncode == 0, first.stderr
    assert time.monotonic() - begin < 300
    assert (tmp_path / "results" / "benchmarks" / "rehearsal_cpu.md").is_file()
    ran = list((tmp_path / "results" / "records").glob("*/record.json"))
    assert ran
    second = use(tmp_path, "--device", "cpu", "--minutes", "1", "--only", "runs")
    assert second.returncode == 0
    assert len(list((tmp_path / "results" / "records").glob("*/record.json"))) == len(ran)
