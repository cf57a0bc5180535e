"""`scripts/use_gpu.py`, a real process, where there is no GPU: what it begins, what it leaves, and what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from experiments.data.cifar10 import ARCHIVE
from experiments.record import provenance
from experiments.record.run_directory import run_name
from experiments.record.timing import Timing
from experiments.schema import paths
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.errors import UserError
from experiments.schema.typed import to_dict
from experiments.training import capture

sys.path.insert(0, str(paths.ROOT / "scripts"))
import archive_parts
import bench_gpu
import gpu_paces
import gpu_work
import loop_timing
import use_gpu
from gpu_paces import Paces
from gpu_work import CIFAR10, Work
from use_gpu import CHECKPOINT, Entry, Window

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
    done = use(tmp_path, "--device", "cpu", "--minutes", "1")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert "min left]" not in done.stdout, "no command was run"
    for words in ("not begun: 2.0 min do not fit", "not begun: up to 4.0 min do not fit", "a guess"):
        assert words in done.stdout
    for words in ("fast.ai CIFAR-10", "VGG-11", "ResNet-34", "table t4, scale=small"):
        assert words in done.stdout


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
    for names in (("set.tgz.1of3", "set.tgz.2of2"), ("one.tgz.1of3", "one.tgz.1of2")):
        for name in names:
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UserError, match=r"parts of ...\.tgz of 2 and 3; keep one set"):
            archive_parts.missing(tmp_path, names[0].removesuffix(".1of3"))


def test_a_zip_archive_gives_its_texts_once_and_says_what_is_wrong_with_it(tmp_path):
    archive, names = tmp_path / "ptb.zip", ["a.txt", "b.txt"]
    archive_parts.unpack(archive, names)
    assert list(tmp_path.iterdir()) == []
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("folder/a.txt", "of the archive")
        written.writestr("b.txt", "b")
    (tmp_path / "b.txt").write_text("there before")
    archive_parts.unpack(archive, names)
    assert [(tmp_path / name).read_text() for name in names] == ["of the archive", "there before"]
    with pytest.raises(UserError, match=r"ptb\.zip: holds no c\.txt"):
        archive_parts.unpack(archive, ["c.txt"])
    archive.write_bytes(archive.read_bytes()[:20])
    with pytest.raises(UserError, match=r"ptb\.zip: .*has all of it arrived\?"):
        archive_parts.unpack(archive, ["c.txt"])


def work(*more: str, minutes: float = 100.0) -> Work:
    return Work("", ("exp=vit_small", "optim=adan", *more), CIFAR10, minutes)


def paces(tmp_path: Path, card: str, rows: list | None = None) -> Paces:
    return Paces(card, tmp_path / "card_times.json", rows or [])


def test_runs_that_have_ended_are_known_by_their_sealed_records_and_tell_how_long_others_take(tmp_path):
    (record,) = (paths.ROOT / "results" / "records").glob("vit_small-adan-mini-0290ddf10fb2-seed0")
    config = gpu_work.configuration(work(), "mini", None)
    assert gpu_work.ended(config).name == record.name
    other = gpu_work.configuration(work("seed=987654"), "mini", None)
    assert gpu_work.ended(other) is None
    card = json.loads((record / "record.json").read_text())["hardware"]["cpu"]
    minutes, known = paces(tmp_path, card).minutes(work(), other)
    assert known == "measured on this card"
    assert 0.5 < minutes < 10
    assert paces(tmp_path, "another card").minutes(work(), other) == (100.5, "a guess")


def test_a_run_that_diverged_has_ended_too(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    config = gpu_work.configuration(work("seed=987654"), "mini", None)
    (record,) = (paths.ROOT / "results" / "records").glob("vit_small-adan-mini-0290ddf10fb2-seed0")
    sealed = json.loads((record / "record.json").read_text())
    folder = tmp_path / "records" / f"{run_name(to_dict(config))}-replica2"
    folder.mkdir(parents=True)
    for status, expected in (("partial", None), ("diverged", folder)):
        (folder / "record.json").write_text(json.dumps({**sealed, "status": status}))
        assert gpu_work.ended(config) == expected


def test_a_benchmark_of_the_same_update_is_better_than_a_guess_and_a_run_is_better_than_both(tmp_path):
    asked = Work("", ("exp=cifar10_resnet34", "optim=adan"), CIFAR10, 9.5)
    config = gpu_work.configuration(asked, "paper", None)
    seconds = {"eager": [20e-3], "captured": [6e-3, 6e-3, 7e-3]}
    row = {"run": ["cifar10_resnet34", "paper", 128, "fp32"], "seconds": seconds}
    minutes, known = paces(tmp_path, "a card", [row]).minutes(asked, config)
    assert known.startswith("its update's benchmark")
    assert minutes == pytest.approx(0.5 + 1.15 * 1.25 * 200 * 391 * 6e-3 / 60)
    half = {**row, "run": ["cifar10_resnet34", "paper", 128, "bf16"]}
    failed = {"name": "left out", "left_out": "why"}
    assert paces(tmp_path, "a card", [half, failed]).minutes(asked, config)[1] == "a guess"
    paces(tmp_path, "a card").remember_run(config, 8e-3)
    assert paces(tmp_path, "a card", [row]).minutes(asked, config) == (
        pytest.approx(0.5 + 1.15 * 200 * 391 * 8e-3 / 60),
        "measured on this card",
    )
    sgd = gpu_work.configuration(Work("", ("exp=cifar10_resnet34", "optim=sgd"), CIFAR10, 9.5), "paper", None)
    assert paces(tmp_path, "a card").minutes(asked, sgd)[1] == "measured on this card with other optimizers"


def test_the_pace_of_a_run_is_that_of_its_newest_process_without_its_first_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    config = gpu_work.configuration(work(), "mini", None)
    assert gpu_paces.pace_of(config) is None
    folder = tmp_path / run_name(to_dict(config))
    folder.mkdir()
    timing = Timing(folder / "timing.jsonl")
    lines = [("start", 0, 0.0), ("epoch", 100, 90.0), ("epoch", 200, 99.0), ("restart", 200, 0.0), ("epoch", 300, 50.0)]
    for kind, update, elapsed in lines:
        timing.note(kind, update=update)
        text = timing.path.read_text().splitlines()
        text[-1] = json.dumps({**json.loads(text[-1]), "elapsed": elapsed})
        timing.path.write_text("\n".join(text) + "\n")
        if (kind, update) == ("epoch", 200):
            assert gpu_paces.pace_of(config)[0] == pytest.approx(0.09)
    assert gpu_paces.pace_of(config) is None, "one epoch of a new process says nothing yet"


def test_every_run_that_is_declared_can_be_composed():
    works = list(gpu_work.declared())
    assert len({(work.overrides, work.group) for work in works}) == len(works)
    for each in works:
        assert gpu_work.configuration(each, each.scale, None).scale == each.scale
    groups = list(dict.fromkeys(work.group for work in works))
    assert groups[:4] == ["fast.ai CIFAR-10", "VGG-11", "Penn Treebank", "ResNet-34"]


LEAVES_WHEN_ASKED = """
import pathlib, signal, sys, time
def leave(*_):
    pathlib.Path(sys.argv[1]).write_text("a checkpoint")
    sys.exit(75)
signal.signal(signal.SIGTERM, leave)
pathlib.Path(sys.argv[1]).write_text("begun")
time.sleep(60)
"""


@pytest.mark.parametrize("hopeless", [False, True])
def test_what_still_runs_at_the_deadline_or_is_hopeless_is_asked_to_leave(tmp_path, hopeless):
    note = tmp_path / "note"
    window = Window(minutes=(CHECKPOINT + (60 if hopeless else 3)) / 60)
    why = (lambda: "too slow" if note.exists() else None) if hopeless else (lambda: None)
    begin = time.monotonic()
    assert window.run("it", ["-c", LEAVES_WHEN_ASKED, str(note)], why) is None
    assert time.monotonic() - begin < 15
    assert note.read_text() == "a checkpoint"
    assert window.outcomes[0][:2] == ("it", "too slow" if hopeless else "time was up")


def test_what_does_not_fit_lets_a_shorter_one_pass_and_partial_begins_the_first_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    asked = [work("seed=987654", minutes=50.0), work("seed=987655", minutes=2.0), work("seed=987656", minutes=1.0)]
    entries = [Entry(each, "mini", gpu_work.configuration(each, "mini", None)) for each in asked]
    entries[2].obstacle = "no data"
    known = paces(tmp_path, "a card")
    for left, partial, expected in ((60.0, False, (entries[0], True)), (5.0, True, (entries[1], True))):
        assert use_gpu.choose(entries, known, left, partial) == expected
    assert use_gpu.choose(entries, known, 2.2, partial=False) is None
    assert use_gpu.choose(entries, known, 2.2, partial=True) == (entries[0], False)
    assert use_gpu.choose(entries, known, 1.0, partial=True) is None


def test_tests_that_passed_with_this_code_are_passed_over(tmp_path, monkeypatch):
    code = {"revision": "ab" * 20, "diff_digest": None}
    monkeypatch.setattr(provenance, "code", lambda: code)
    known = paces(tmp_path, "a card")
    known.remember_tests(code=code, status=0, minutes=1.0)
    window = Window(0.0)
    use_gpu.test(window, paces(tmp_path, "a card"), again=False)
    assert window.outcomes[0][1].startswith("passed before")
    for again, status in ((True, 0), (False, 1)):
        known.remember_tests(code=code, status=status, minutes=1.0)
        use_gpu.test(window, paces(tmp_path, "a card"), again=again)
        assert window.outcomes[-1][1] == "not begun: 1.0 min do not fit"


def test_rows_of_a_page_are_kept_for_the_code_that_measured_them(tmp_path, monkeypatch):
    code = {"revision": "ab" * 20, "diff_digest": None}
    monkeypatch.setattr(provenance, "code", lambda: code)
    output = tmp_path / "gpu_card.md"
    assert bench_gpu.lacking(output, None)
    rows = [{"name": name, "left_out": "RuntimeError: out of memory"} for name in bench_gpu.NAMES]
    rows[0] = {"name": bench_gpu.NAMES[0], "wants": "ptb", "left_out": "no Penn Treebank"}
    (tmp_path / "gpu_card.json").write_text(json.dumps({"code": code, "rows": rows}))
    assert not bench_gpu.lacking(output, None)
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text("")
    assert bench_gpu.lacking(output, tmp_path), "its data have come"
    monkeypatch.setattr(provenance, "code", lambda: {**code, "revision": "cd" * 20})
    assert bench_gpu.kept(output) == []


def test_a_row_tells_whether_its_target_is_reached():
    seconds = {"eager": [20e-3, 22e-3, 21e-3], "captured": [2.8e-3, 2.9e-3, 3.0e-3]}
    whole = {"minutes": 9.0, "evaluation": {"eager": 2.0, "captured": 0.5}, "updates": 200 * 680, "epochs": 200}
    update, run = bench_gpu.lines({"name": "PTB", "seconds": seconds, "target": 2.9, **whole})
    assert update.startswith("| PTB, captured: an update, ms | 2.90 (2.80 to 3.00) | eager 21.00 (20.00 to 22.00) | 7.")
    assert update.endswith("| at most 2.9 ms | reached |")
    assert "| 8.2 (0.50 s an evaluation) |" in run and run.endswith("| at most 9 min | reached |")
    images = {"captured": [4000.0] * 3, bench_gpu.PLAIN: [3900.0] * 3}
    (line,) = bench_gpu.lines({"name": "ViT-S", "images": images, "target": 1.05})
    assert line.endswith("| 1.03 (1.03 to 1.03) | at least 1.05 of it | **not reached** |")
    ratios = {"name": "step", "ratios": {"ours": [1.5] * 3}, "reference": "AdamW", "targets": {"ours": 1.6}}
    assert bench_gpu.lines(ratios)[0].endswith("| at most 1.6 of it | reached |")
    assert bench_gpu.lines(ratios, targets=False)[0].endswith("| 1.50 (1.50 to 1.50) |  |  |")


@pytest.mark.parametrize("shape", [*bench_gpu.SHAPES, bench_gpu.VIT_SMALL], ids=lambda shape: shape.name)
def test_the_runs_that_a_gpu_measures_are_runs_that_can_be_captured(shape):
    (config,) = compose([*shape.overrides.split(), "scale=paper", "data.root=FOLDER", *loop_timing.UPDATES_ALONE])
    check(config)
    assert capture.why_not(config, torch.device("cuda"), world_size=1, runs=1) is None


@pytest.mark.slow
def test_the_benchmarks_are_rehearsed_and_go_on_where_they_stopped(tmp_path):
    output = tmp_path / "page.md"
    command = [sys.executable, str(paths.ROOT / "scripts" / "bench_gpu.py"), "--device", "cpu", "--segments", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--output", str(output)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page, rows = output.read_text(), bench_gpu.read_rows(output)
    assert "cpu, mini shapes, no target applies" in page and "reached" not in page
    assert [row["name"] for row in rows] == list(bench_gpu.NAMES)
    assert not [row for row in rows if "left_out" in row], page


@pytest.mark.slow
def test_a_run_that_is_stopped_leaves_a_checkpoint_and_goes_on_from_it(tmp_path):
    environment = {**os.environ, "ADAN_RUNS": str(tmp_path / "runs"), "ADAN_RESULTS": str(tmp_path / "results")}
    script = str(paths.ROOT / "scripts" / "use_gpu.py")
    command = [sys.executable, script, "--device", "cpu", "--minutes", "6", "--only", "runs"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not list((tmp_path / "runs").glob("*/events.jsonl")) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "stopped from outside" in output and "fast.ai CIFAR-10" in output
    (run,) = (tmp_path / "runs").glob("*-seed*")
    assert list(run.glob("checkpoints/update-*")) and not (run / "record.json").exists()
    assert subprocess.run([*command, "--minutes", "3.6"], env=environment).returncode == 0
    assert '"restart"' in (run / "timing.jsonl").read_text()
    assert (run / "record.json").exists()


@pytest.mark.slow
def test_a_rehearsal_ends_in_time_and_passes_over_what_it_has_done(tmp_path):
    begin = time.monotonic()
    first = use(tmp_path, "--device", "cpu", "--minutes", "7")
    assert first.returncode == 0, first.stderr
    assert time.monotonic() - begin < 420
    assert (tmp_path / "results" / "benchmarks" / "rehearsal_cpu.md").is_file()
    ran = list((tmp_path / "results" / "records").glob("*/record.json"))
    assert ran
    second = use(tmp_path, "--device", "cpu", "--minutes", "1")
    assert second.returncode == 0
    assert len(list((tmp_path / "results" / "records").glob("*/record.json"))) == len(ran)
