"""Tamper with every number of a sealed run and see that verify names it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sealed_runs import seal_at, train

from experiments.record.seal import with_digests
from experiments.record.verify import verify
from experiments.schema import paths


def leaves(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """The place of every value in a JSON tree."""
    if isinstance(tree, (dict, list)) and tree:
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, (*path, key))
    else:
        yield path


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    return "something"


def altered(record: dict, place: tuple, value: Any = None) -> dict:
    record = json.loads(json.dumps(record))
    *parents, last = place
    node = record
    for key in parents:
        node = node[key]
    node[last] = other(node[last]) if value is None else value
    return record


def read(directory) -> dict:
    return json.loads(directory.record_path.read_text())


def rewrite(directory, record: dict, forge: bool = False) -> None:
    """Replace record.json; with `forge`, with digests that fit."""
    if forge:
        record = with_digests({k: v for k, v in record.items() if k not in ("digests", "record_digest")})
    directory.record_path.write_text(json.dumps(record))


def test_an_untouched_run_is_good_also_where_it_was_copied(finished_run, results, tmp_path):
    shutil.copytree(finished_run.path, tmp_path / "elsewhere" / "renamed")
    for path in (finished_run.path, finished_run.record_path, tmp_path / "elsewhere" / "renamed"):
        assert verify(path) == []
    assert verify(results / "records" / finished_run.name) == []


def test_any_value_of_the_record_that_was_edited_is_named(finished_run):
    record = read(finished_run)
    places = list(leaves(record))
    assert len(places) > 150
    for place in places:
        rewrite(finished_run, altered(record, place))
        problems = verify(finished_run.path)
        if place[0] == "record_version":
            assert "version 2, this code knows version 1" in problems[0]
        else:
            field = place[1] if place[0] == "digests" else place[0]
            assert problems[0].startswith("record.json: "), place
            assert field in problems[0], (place, problems)


@pytest.mark.parametrize("field", ["seed", "data", "status", "events", "config", "digests", "record_digest"])
def test_a_field_that_was_removed_or_added_is_named(finished_run, field):
    record = read(finished_run)
    rewrite(finished_run, {key: value for key, value in record.items() if key != field})
    assert any(field in problem for problem in verify(finished_run.path))
    rewrite(finished_run, record | {"more": 1})
    assert "record.json: more was added" in verify(finished_run.path)


FOLLOWING = [
    (("summary", "top1", "last"), "summary.top1.last does not follow from the events"),
    (("summary", "top1", "best"), "summary.top1.best does not follow from the events"),
    (("summary", "eval_loss", "reported"), "summary.eval_loss.reported does not follow"),
    (("progress", "update"), "progress.update is 11, the events say 10"),
    (("progress", "epoch"), "progress.epoch is 6, the events say 5"),
    (("progress", "total_updates"), "progress.total_updates is 11, the events say 10"),
    (("progress", "total_epochs"), "progress.total_epochs is 6, the events say 5"),
    (("parameters_digest",), "parameters_digest is"),
    (("config_digest",), "config_digest is not that of its config"),
    (("config", "optim", "lr"), "config.json: optim.lr differs from the record's config"),
    (("config", "title"), "config.json: title differs from the record's config"),
    (("seed",), "seed is 1, its config says 0"),
    (("exp",), "exp is"),
    (("run",), "run is"),
    (("overrides", 0), "overrides is"),
    (("events", "count"), "events.jsonl: count is 12, sealed was 13"),
    (("events", "bytes"), "events.jsonl: bytes is"),
    (("events", "hash"), "events.jsonl: hash is"),
    (("timing", "sha256"), "timing.jsonl was altered"),
    (("wall_seconds",), "wall_seconds is"),
    (("samples_per_second",), "samples_per_second is 201.0, timing.jsonl says 200.0"),
    (("restarts",), "restarts is 1, timing.jsonl says 0"),
]


@pytest.mark.parametrize(("place", "problem"), FOLLOWING, ids=lambda value: ".".join(map(str, value))[:40])
def test_a_forged_record_does_not_fit_the_files_beside_it(finished_run, place, problem):
    rewrite(finished_run, altered(read(finished_run), place), forge=True)
    problems = verify(finished_run.path)
    assert any(problem in found for found in problems), problems
    assert not any("was altered" in found for found in problems if found.startswith("record.json"))


def test_a_forged_status_does_not_fit_the_events(finished_run):
    rewrite(finished_run, altered(read(finished_run), ("status",), "partial"), forge=True)
    assert verify(finished_run.path) == ["record.json: progress.update 10 does not fit the events"]


def test_every_number_of_every_event_is_guarded(finished_run):
    lines = finished_run.events_path.read_text().splitlines()
    for index, line in enumerate(lines):
        event = json.loads(line)
        for key in event:
            edited = json.dumps({**event, key: other(event[key])}, separators=(",", ":"))
            finished_run.events_path.write_text("\n".join([*lines[:index], edited, *lines[index + 1 :]]) + "\n")
            assert verify(finished_run.path)[0].startswith(f"events.jsonl: event {index} "), (index, key)


def test_a_log_that_was_cut_extended_or_written_anew_does_not_fit_the_seal(finished_run):
    from experiments.record.events import EventLog, read_events

    whole = finished_run.events_path.read_bytes()
    finished_run.events_path.write_bytes(whole[: whole[:-1].rindex(b"\n") + 1])
    assert "events.jsonl: count is 11, sealed was 12" in verify(finished_run.path)
    finished_run.events_path.write_bytes(whole)
    log = EventLog(finished_run.events_path)
    log.append("train", update=11)
    assert "events.jsonl: count is 13, sealed was 12" in verify(finished_run.path)
    finished_run.events_path.write_bytes(whole)
    events = read_events(finished_run.events_path)
    events[2]["top1"] += 1.0  # not the last, not the best: only the hash can tell
    finished_run.events_path.unlink()
    log = EventLog(finished_run.events_path)
    for event in events:
        log.append(event.pop("kind"), **event)
    (problem,) = verify(finished_run.path)
    assert problem.startswith("events.jsonl: hash is")


@pytest.mark.parametrize("name", ["events.jsonl", "timing.jsonl", "config.json"])
def test_a_file_that_is_missing_or_damaged_is_named(finished_run, name):
    path = finished_run.path / name
    content = path.read_bytes()
    path.unlink()
    assert f"{name} is missing" in verify(finished_run.path)
    path.write_bytes(content[: len(content) // 2])
    assert any(problem.startswith(name) for problem in verify(finished_run.path))


@pytest.mark.parametrize("name", ["record.json", "events.jsonl", "timing.jsonl", "config.json"])
def test_a_folder_in_place_of_a_file_is_named(finished_run, name):
    (finished_run.path / name).unlink()
    (finished_run.path / name).mkdir()
    assert any(problem.startswith(f"{name} cannot be read") for problem in verify(finished_run.path))


@pytest.mark.parametrize("content", [bytes(range(256)) * 1000, b"[" * 200_000, b"{" * 10, b"\xff\xfe{}"])
@pytest.mark.parametrize("name", ["record.json", "events.jsonl", "config.json"])
def test_a_file_that_is_something_else_is_named_in_a_short_line(finished_run, name, content):
    (finished_run.path / name).write_bytes(content)
    problems = verify(finished_run.path)
    assert any(problem.startswith(name) for problem in problems)
    assert all(len(problem) < 250 for problem in problems)


def test_an_edited_configuration_file_is_named_by_its_key(finished_run):
    tree = json.loads(finished_run.config_path.read_text())
    tree["schedule"]["decay"] = 0.5
    finished_run.config_path.write_text(json.dumps(tree))
    assert verify(finished_run.path) == ["config.json: schedule.decay differs from the record's config"]


def test_what_is_no_record(tmp_path, new_run):
    assert verify(new_run().path) == ["record.json is missing: this run is not sealed"]
    for content in ("", "[]", "{}", "nonsense", '{"record_version": 1}'):
        (tmp_path / "record.json").write_text(content)
        assert verify(tmp_path)[0].startswith("record.json")


def test_a_partial_record_stays_good_while_its_run_goes_on(new_run):
    directory = new_run()
    train(directory, until=4)
    seal_at(directory, 4)
    train(directory, after=4, until=6)
    new_run(stop_at="3")
    assert verify(directory.path) == []
    rewrite(directory, altered(read(directory), ("progress", "update"), 2), forge=True)
    assert "record.json: progress.update 2 does not fit the events" in verify(directory.path)


def command(*arguments) -> subprocess.CompletedProcess:
    script = [sys.executable, str(paths.ROOT / "scripts" / "verify.py"), *map(str, arguments)]
    return subprocess.run(script, capture_output=True, text=True)


def test_the_command_prints_one_line_per_record_and_its_exit_status_tells(finished_run, results, tmp_path):
    good = command(finished_run.path, results / "records")
    assert good.returncode == 0
    assert good.stdout.splitlines() == [
        *[f"ok   {finished_run.name}  finished 10/10  top1 89  eval_loss 0.15"] * 2,
        "2 checked, 0 bad",
    ]
    rewrite(finished_run, altered(read(finished_run), ("summary", "top1", "last"), 95.0))
    bad = command(finished_run.record_path, results / "records" / finished_run.name)
    assert bad.returncode == 1
    assert bad.stdout.startswith("BAD  ")
    assert "       record.json: summary was altered" in bad.stdout.splitlines()
    assert bad.stdout.endswith("2 checked, 1 bad\n")
    nothing = command(tmp_path / "nowhere")
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: no record at ")
