import json
import math
import socket
from pathlib import Path

import pytest
from sealed_runs import make_config, seal_at, train

from experiments.record import atomic, publishing, seal
from experiments.record.events import EventLog
from experiments.record.publishing import publish
from experiments.record.run_directory import RunDirectory
from experiments.record.seal import load_record
from experiments.record.verify import verify
from experiments.schema.config import DataConfig, MetricConfig
from experiments.schema.typed import to_dict


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_record_holds_what_the_run_was_and_reached(finished_run):
    record = load_record(finished_run.record_path)
    assert record["run"] == finished_run.name
    assert (record["exp"], record["optim"], record["seed"], record["status"]) == ("vit_small", "adan", 0, "finished")
    assert record["summary"]["top1"] == {"last": 89.0, "best": 90.0, "reported": "last"}
    assert record["progress"] == {"update": 10, "total_updates": 10, "epoch": 5, "total_epochs": 5}
    assert record["config"] == to_dict(make_config())
    assert record["samples_per_second"] == 200.0
    assert record["restarts"] == 0
    assert set(record) == {
        *("record_version", "run", "exp", "optim", "recipe", "scale", "seed", "epochs", "batch_size", "overrides"),
        *("status", "progress", "summary", "config_digest", "parameters_digest", "events", "timing", "wall_seconds"),
        *("samples_per_second", "restarts", "peak_memory_bytes", "code", "python", "packages", "hardware", "threads"),
        *("split", "optimizer", "data", "config", "digests", "record_digest"),
    }


def test_a_small_copy_without_checkpoints_goes_to_the_results(finished_run, results):
    copy = results / "records" / finished_run.name
    assert set(contents(copy)) == {"config.json", "events.jsonl", "timing.jsonl", "record.json"}
    assert (copy / "record.json").read_bytes() == finished_run.record_path.read_bytes()
    assert sum(map(len, contents(copy).values())) < 20_000


def test_the_copy_names_no_folder_and_no_host(new_run, results, tmp_path):
    secret = str(tmp_path / "secret")
    directory = new_run(data=DataConfig(name="imagenet", root=secret), overrides=[f"data.root={secret}"])
    train(directory)
    seal_at(directory)
    text = b"".join(contents(results / "records" / directory.name).values()).decode()
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text
    assert directory.config().data.root == secret
    assert verify(results / "records" / directory.name) == []
    assert verify(directory.path) == []


def test_sealing_and_publishing_again_changes_nothing(finished_run, results):
    copy = results / "records" / finished_run.name
    before = contents(finished_run.path), contents(copy)
    seal_at(finished_run)
    assert publish(finished_run).folder == copy
    assert (contents(finished_run.path), contents(copy)) == before
    assert [path.name for path in (results / "records").iterdir()] == [finished_run.name]


def test_events_that_are_not_those_sealed_are_not_published(finished_run, results, new_run):
    published = contents(results / "records" / finished_run.name)
    lines = finished_run.events_path.read_bytes().splitlines(keepends=True)
    finished_run.events_path.write_bytes(b"".join(lines[:-1]))
    publication = publish(finished_run)
    assert publication.record == results / "records" / finished_run.name / "record.json"
    assert "does not verify (events.jsonl: count is 11, sealed was 12)" in publication.notices[0]
    partial = new_run(seed=1)
    train(partial, until=4)
    seal_at(partial, 4)
    before = contents(results / "records" / partial.name)
    train(partial, until=6, after=4)
    publish(partial)
    assert contents(results / "records" / partial.name) == before, "it went on; its next record will be copied"
    assert contents(results / "records" / finished_run.name) == published


def test_a_finished_record_is_never_replaced(finished_run):
    before = finished_run.record_path.read_bytes()
    log = EventLog(finished_run.events_path)
    log.append("end", update=10, epoch=4, status="finished", parameters_digest="e" * 64)
    with pytest.raises(ValueError, match="sealed as finished with other events"):
        seal_at(finished_run)
    assert finished_run.record_path.read_bytes() == before


def test_a_partial_record_is_kept_beside_the_later_ones(new_run, results):
    directory = new_run()
    for after, until in ((0, 4), (4, 8), (8, 10)):
        train(directory, after=after, until=until)
        seal_at(directory, until)
    copy = results / "records" / directory.name
    for folder in (directory.path, copy):
        updates = {path.name: load_record(path)["progress"]["update"] for path in folder.glob("record*.json")}
        assert updates == {"record.partial-4.json": 4, "record.partial-8.json": 8, "record.json": 10}
        for name in updates:
            assert verify(folder / name) == []
    assert [path.name for path in (results / "records").iterdir()] == [directory.name]
    assert load_record(directory.record_path)["restarts"] == 2


def test_a_record_of_another_machine_stays_and_ours_goes_beside(finished_run, results, tmp_path):
    elsewhere = RunDirectory.open_or_create(tmp_path / "other machine", make_config())
    train(elsewhere)
    log = EventLog(elsewhere.events_path)
    log.cut_back(None)
    log.close()
    elsewhere.timing_path.unlink()
    train(elsewhere)
    before = contents(results / "records" / finished_run.name)
    seal_at(elsewhere)
    assert contents(results / "records" / finished_run.name) == before
    replica = results / "records" / f"{finished_run.name}-replica2"
    assert publish(elsewhere).folder == replica
    assert verify(replica) == []
    assert publish(finished_run).folder.name == finished_run.name


@pytest.mark.parametrize("status", ["finished", "partial"])
def test_the_end_of_the_log_must_fit_the_status(new_run, status):
    directory = new_run()
    train(directory, until=4 if status == "finished" else 10)
    with pytest.raises(ValueError, match="`end` event last"):
        seal.seal(
            directory,
            status=status,
            progress={"update": 4, "total_updates": 10, "epoch": 2, "total_epochs": 5},
            parameters_digest="d",
            data={},
            optimizer={},
            threads=1,
            split={},
            peak_memory_bytes=1,
        )
    assert directory.record() is None


def test_a_damaged_log_is_not_sealed(new_run):
    directory = new_run()
    train(directory)
    directory.events_path.write_bytes(directory.events_path.read_bytes().replace(b'"top1":90.0', b'"top1":99.0'))
    with pytest.raises(ValueError, match=r"event 8 \(evaluation at update 8\)"):
        seal_at(directory)


def test_non_finite_metrics_are_sealed_in_strict_json(new_run):
    directory = new_run(metrics={"top1": MetricConfig("max", "last"), "extra": MetricConfig("min", "best")})
    log = EventLog(directory.events_path)
    log.append("begin", config_digest=config_digest_of(directory), seed=0, total_updates=10, updates_per_epoch=2)
    log.append("evaluation", epoch=1, update=4, top1=math.nan)
    log.close()
    path = seal_at(directory, 4)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    summary = load_record(path)["summary"]
    assert math.isnan(summary["top1"]["last"])
    assert summary["extra"] == {"last": None, "best": None, "reported": "best"}
    assert verify(path) == []


def config_digest_of(directory: RunDirectory) -> str:
    from experiments.schema.digest import config_digest

    return config_digest(directory.config())


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 4], ids=["every line", "every fourth line"])
def test_a_kill_at_any_line_of_sealing_loses_nothing_and_is_made_good(new_run, results, kill_at_every_line, step):
    directory = new_run()
    train(directory, until=4)
    seal_at(directory, 4)
    train(directory, after=4)
    copy = results / "records" / directory.name
    saved = {folder: contents(folder) for folder in (directory.path, copy)}
    reached, seen = set(), set()

    def prepare():
        for folder, files in saved.items():
            now = contents(folder)
            for name in now.keys() - files.keys():
                (folder / name).unlink()
            for name in files:
                if now.get(name) != files[name]:
                    (folder / name).write_bytes(files[name])

    def check():
        left = [sorted(contents(folder).items()) for folder in (directory.path, copy)]
        if str(left) in seen:  # two lines that write nothing leave the same files
            return
        seen.add(str(left))
        states = [load_record(folder / "record.json")["status"] for folder in (directory.path, copy)]
        reached.add(tuple(states))
        assert verify(directory.path) == []
        assert verify(copy) == []
        seal_at(directory)
        for folder in (directory.path, copy):
            assert verify(folder) == []
            assert load_record(folder / "record.json")["status"] == "finished"
            assert load_record(folder / "record.partial-4.json")["progress"]["update"] == 4
            assert not list(folder.glob("*replica*"))
        assert [path.name for path in copy.parent.iterdir()] == [directory.name]

    killed = kill_at_every_line(prepare, lambda: seal_at(directory), check, seal, publishing, atomic, step=step)
    assert killed > 100, killed
    assert reached == {("partial", "partial"), ("finished", "partial"), ("finished", "finished")}
