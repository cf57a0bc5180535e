"""Damage either side, publish again: the sound side stands, and the user is told."""

import errno
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from sealed_runs import make_config, seal_at, train

from experiments.launch import local
from experiments.record import publishing
from experiments.record.publishing import publish
from experiments.record.run_directory import RunDirectory
from experiments.record.timing import Timing
from experiments.record.verify import verify
from experiments.schema import paths
from experiments.schema.errors import UserError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def halve_a_number(path: Path) -> None:
    text = path.read_text()
    assert '"top1"' in text
    path.write_text(text.replace("89.0", "44.5"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def roll(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[-7:] + content[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = [
    *[(name, damage) for name in ("record.json", "events.jsonl") for damage in (halve_a_number, truncate, roll, empty)],
    *[("timing.jsonl", damage) for damage in (truncate, roll, empty, Path.unlink)],
    ("events.jsonl", Path.unlink),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_run_leaves_its_sound_copy_and_says_how_to_be_restored(finished_run, results, name, damage):
    copy = results / "records" / finished_run.name
    sound = contents(copy)
    damage(finished_run.path / name)
    publication = publish(finished_run)
    assert publication.record == copy / "record.json" and contents(copy) == sound
    assert local.is_done(finished_run, make_config())
    (notice,) = publication.notices
    assert str(finished_run.path) in notice and name in notice
    subprocess.run(notice.split("To restore the run: ")[1], shell=True, check=True)
    assert verify(finished_run.path) == []
    assert publish(finished_run).notices == ()


@pytest.mark.parametrize(("name", "damage"), [*DAMAGES, ("config.json", truncate), ("config.json", Path.unlink)])
def test_a_damaged_copy_is_written_again_from_the_sound_run(finished_run, results, name, damage):
    copy = results / "records" / finished_run.name
    sound = contents(copy)
    damage(copy / name)
    publication = publish(finished_run)
    assert (publication.record, publication.folder) == (finished_run.record_path, copy)
    assert "was damaged" in publication.notices[0] and name in publication.notices[0]
    assert contents(copy) == sound
    assert [folder.name for folder in (results / "records").iterdir()] == [finished_run.name]


def test_where_both_are_damaged_nothing_changes_and_one_sentence_names_both(finished_run, results):
    copy = results / "records" / finished_run.name
    halve_a_number(finished_run.events_path)
    truncate(copy / "record.json")
    before = contents(copy), contents(finished_run.path)
    with pytest.raises(UserError, match=r"does not verify \(events.jsonl: event .*neither does the published copy"):
        publish(finished_run)
    assert (contents(copy), contents(finished_run.path)) == before
    halve_a_number(finished_run.record_path)
    with pytest.raises(UserError, match=r"record\.json is damaged"):
        local.is_done(finished_run, make_config())


def test_a_damaged_run_that_was_never_published_is_not_published(finished_run, results):
    shutil.rmtree(results)
    halve_a_number(finished_run.events_path)
    with pytest.raises(UserError, match="no copy was published: nothing was changed"):
        publish(finished_run)
    assert not results.exists()


def test_a_damaged_copy_of_a_partial_record_is_written_again(new_run, results):
    directory = new_run()
    train(directory, until=4)
    seal_at(directory, 4)
    train(directory, after=4)
    seal_at(directory)
    partial = results / "records" / directory.name / "record.partial-4.json"
    sound = partial.read_bytes()
    truncate(partial)
    assert "was damaged (record.partial-4.json" in publish(directory).notices[0]
    assert partial.read_bytes() == sound
    truncate(directory.path / partial.name)
    assert "record.partial-4.json is not copied" in publish(directory).notices[0]
    assert partial.read_bytes() == sound


def test_a_damaged_replica_is_repaired_and_the_first_copy_stays(finished_run, results, tmp_path):
    elsewhere = RunDirectory.open_or_create(tmp_path / "other machine", make_config())
    train(elsewhere)
    elsewhere.timing_path.write_bytes(elsewhere.timing_path.read_bytes().replace(b'"seconds":0.5', b'"seconds":0.7'))
    seal_at(elsewhere)
    first, replica = (results / "records" / f"{finished_run.name}{suffix}" for suffix in ("", "-replica2"))
    before = contents(first), contents(replica)
    truncate(replica / "events.jsonl")
    assert publish(elsewhere).folder == replica
    assert (contents(first), contents(replica)) == before


def test_a_run_whose_record_was_lost_is_sealed_again_without_becoming_a_replica_of_itself(finished_run, results):
    finished_run.record_path.unlink()
    Timing(finished_run.timing_path).start(10)
    seal_at(finished_run)
    assert [folder.name for folder in (results / "records").iterdir()] == [finished_run.name]
    copy = results / "records" / finished_run.name
    assert verify(copy) == [] and contents(copy)["record.json"] == finished_run.record_path.read_bytes()


@pytest.mark.parametrize("content", [b"", b'{"exp": "vit', b"[]", b"\xff"])
def test_a_damaged_configuration_is_written_again_and_the_damaged_one_kept(finished_run, new_run, capsys, content):
    finished_run.config_path.write_bytes(content)
    again = new_run()
    assert again.path == finished_run.path and verify(again.path) == []
    assert "config.json is damaged" in capsys.readouterr().err
    assert (again.path / "config.damaged-1.json").read_bytes() == content
    assert publish(again).notices == ()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_copy_that_fails_leaves_the_run_sealed_and_says_so(finished_run, results, monkeypatch, number):
    shutil.rmtree(results)

    def failing(path: Path, data: bytes) -> None:
        raise OSError(number, "cannot", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(publishing, "write_atomically", failing)
        publication = publish(finished_run)
        assert "cannot" in str(publishing.refusal())
    assert publication.record == finished_run.record_path and publication.folder is None
    assert "the same command again copies it" in publication.notices[0]
    assert publish(finished_run).folder == results / "records" / finished_run.name
    assert verify(results / "records" / finished_run.name) == []


def test_a_place_for_records_that_is_a_file_is_refused_and_a_good_one_is_left_empty(results, tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in str(publishing.refusal(tmp_path / "file"))
    assert publishing.refusal(results) is None
    assert list((results / "records").iterdir()) == []


def test_every_committed_record_is_found_to_be_its_own_copy():
    """What is published now is found again by its digest: no record turns into a replica of itself."""
    for path in sorted((paths.ROOT / "results" / "records").glob("*/record.json"))[::25]:
        assert publishing._digest(path) == json.loads(path.read_bytes())["record_digest"]
