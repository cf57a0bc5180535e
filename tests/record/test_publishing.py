"""The copies in `results/records`: what verifies stays, what is damaged is told and put right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sealed_runs import make_config, seal_at, train

from experiments.record.events import EventLog
from experiments.record.publishing import publish, require_results
from experiments.record.run_directory import RunDirectory
from experiments.record.verify import verify
from experiments.schema.errors import UserError

FILES = ("config.json", "events.jsonl", "timing.jsonl", "record.json")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_a_number(path: Path) -> None:
    """Alter the first number that something follows from, leaving a file that can be read."""
    text, count = re.subn(
        rb'("top1": ?|"last": |"seconds": ?|"lr": )[0-9.]+', rb"\g<1>44.5", path.read_bytes(), count=1
    )
    assert count == 1, path
    path.write_bytes(text)


def test_publishing_again_changes_nothing(finished_run, results):
    copy = results / "records" / finished_run.name
    before = contents(finished_run.path), contents(copy)
    seal_at(finished_run)
    published = publish(finished_run)
    assert (published.folder, published.record, published.remark) == (copy, finished_run.record_path, "")
    assert (contents(finished_run.path), contents(copy)) == before
    assert [path.name for path in (results / "records").iterdir()] == [finished_run.name]


@pytest.mark.parametrize("damage", [halve, change_a_number])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_original_leaves_the_sound_copy(finished_run, results, name, damage):
    copy = results / "records" / finished_run.name
    before = contents(copy)
    damage(finished_run.path / name)
    own = contents(finished_run.path)
    if name == "config.json" and damage is halve:
        assert verify(finished_run.path) != []
    published = publish(finished_run)
    assert published.record == copy / "record.json"
    assert "is sound and stays" in published.remark and name in published.remark
    assert (contents(copy), contents(finished_run.path)) == (before, own)
    assert [path.name for path in (results / "records").iterdir()] == [finished_run.name]


@pytest.mark.parametrize("damage", [halve, change_a_number])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_copy_is_put_right_and_what_it_was_is_kept_with_the_run(finished_run, results, name, damage):
    copy = results / "records" / finished_run.name
    before = contents(copy)
    damage(copy / name)
    bad = (copy / name).read_bytes()
    published = publish(finished_run)
    assert published.folder == copy and "was damaged" in published.remark and "put right" in published.remark
    assert contents(copy) == before and verify(copy) == []
    assert (finished_run.path / f"{finished_run.name}.damaged-1.{name}").read_bytes() == bad
    assert publish(finished_run).remark == ""
    assert [path.name for path in (results / "records").iterdir()] == [finished_run.name]


def test_where_both_are_damaged_nothing_is_changed(finished_run, results):
    copy = results / "records" / finished_run.name
    halve(copy / "events.jsonl")
    change_a_number(finished_run.record_path)
    before = contents(finished_run.path), contents(copy)
    with pytest.raises(UserError, match=r"is damaged \(.*summary.*no sound copy of it .* force=true"):
        publish(finished_run)
    assert (contents(finished_run.path), contents(copy)) == before


def test_a_lost_end_of_the_events_is_not_published(finished_run, results):
    published = contents(results / "records" / finished_run.name)
    lines = finished_run.events_path.read_bytes().splitlines(keepends=True)
    finished_run.events_path.write_bytes(b"".join(lines[:-1]))
    assert "events.jsonl: count is" in publish(finished_run).remark
    assert contents(results / "records" / finished_run.name) == published


def test_of_a_run_that_has_gone_on_nothing_is_copied_until_its_next_record(new_run, results):
    partial = new_run(seed=1)
    train(partial, until=4)
    seal_at(partial, 4)
    before = contents(results / "records" / partial.name)
    train(partial, until=6, after=4)
    assert publish(partial).remark == ""
    assert contents(results / "records" / partial.name) == before


def test_an_earlier_record_that_is_damaged_is_not_copied_and_hinders_nothing(new_run, results):
    directory = new_run()
    train(directory, until=4)
    seal_at(directory, 4)
    train(directory, after=4)
    seal_at(directory)
    sound = (directory.path / "record.partial-4.json").read_bytes()
    halve(directory.path / "record.partial-4.json")
    copy = results / "records" / directory.name
    assert publish(directory).folder == copy
    assert (copy / "record.partial-4.json").read_bytes() == sound


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
    assert publish(finished_run).folder == results / "records" / finished_run.name
    change_a_number(replica / "record.json")
    assert publish(finished_run).remark == "", "the other machine's copy is not this run's to mend"
    assert publish(elsewhere).folder == replica and verify(replica) == []


def test_a_record_that_was_lost_and_sealed_again_makes_no_replica(finished_run, results):
    copy = results / "records" / finished_run.name
    before = contents(copy)
    finished_run.record_path.unlink()
    train_again = EventLog(finished_run.events_path)
    train_again.close()
    from experiments.record.timing import Timing

    Timing(finished_run.timing_path).start(10)
    seal_at(finished_run)
    assert contents(copy) == before, "a finished record is never replaced"
    assert [path.name for path in (results / "records").iterdir()] == [finished_run.name]


def test_a_copy_of_a_later_version_of_the_suite_is_left_alone(finished_run, results):
    record = results / "records" / finished_run.name / "record.json"
    later = (
        record.read_bytes()
        .replace(b'"record_version": 1', b'"record_version": 2')
        .replace(b'"record_digest": "', b'"record_digest": "0')
    )
    record.write_bytes(later)
    assert publish(finished_run).folder.name == f"{finished_run.name}-replica2"
    assert record.read_bytes() == later


def test_results_that_cannot_be_written_are_told_before_and_after(new_run, results):
    results.parent.mkdir(exist_ok=True)
    directory = new_run()
    train(directory)
    results.write_text("a file in its place")
    with pytest.raises(UserError, match=r"cannot be written \(.*ADAN_RESULTS=FOLDER"):
        require_results()
    seal_at(directory)
    published = publish(directory)
    assert published.folder is None and published.record == directory.record_path
    assert "the same command copies it" in published.remark
    results.unlink()
    require_results()
    assert verify(publish(directory).folder) == []
    assert not list((results / "records").glob(".*"))
