"""Which attempt of a run the same command finds, by the data that it reads."""

from __future__ import annotations

import json

import pytest
from sealed_runs import make_config, seal_at, train

from experiments.record.canonical import value_digest
from experiments.record.run_directory import RunDirectory
from experiments.record.seal import with_digests
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

A, B = (
    {"name": "imagenet", "source": f"image folder {name}", "digest": value_digest(name), "digest_covers": "contents"}
    for name in "AB"
)


def place(folder: str) -> dict:
    return {"data": DataConfig(name="imagenet", num_classes=10, root=folder)}


@pytest.fixture
def open_on(runs):
    """Open the run on data that lie in a folder of that name."""

    def opened(data: dict, **changes) -> RunDirectory:
        folder = f"/data/{data['source'][-1]}"
        return RunDirectory.open_or_create(runs, make_config(**place(folder), **changes), data)

    return opened


def as_earlier_code_left_it(directory: RunDirectory, data: dict | None) -> None:
    """Without data.json, the record with `data`."""
    directory.data_path.unlink()
    if data is not None:
        record = json.loads(directory.record_path.read_bytes())
        sealed = {key: value for key, value in record.items() if key not in ("digests", "record_digest")}
        directory.record_path.write_text(json.dumps(with_digests({**sealed, "data": data})))


@pytest.mark.parametrize("until", [4, 10])
def test_other_data_are_refused_with_both_named_and_the_way_out(open_on, until):
    first = open_on(A)
    train(first, until=until)
    seal_at(first, until)
    before = first.config_path.read_bytes()
    with pytest.raises(UserError) as refused:
        open_on(B, stop_at="3")
    message = str(refused.value)
    assert f"was begun on image folder A (data.root=/data/A, digest {A['digest'][:12]})" in message
    assert f"reads image folder B (data.root=/data/B, digest {B['digest'][:12]})" in message
    assert "force=true" in message
    assert first.config_path.read_bytes() == before
    assert open_on(A).path == first.path


@pytest.mark.parametrize("state", ["unfinished", "partial", "finished"])
def test_force_begins_an_attempt_that_the_same_data_find_again(open_on, state):
    first = open_on(A)
    train(first, until=10 if state == "finished" else 4)
    if state in ("partial", "finished"):
        seal_at(first, 4 if state == "partial" else 10)
    second = open_on(B, force=True)
    assert second.name == f"{first.name}-attempt2"
    assert (second.status(), second.identity()) == ("new", B)
    train(second, until=2)
    assert open_on(B).path == open_on(B, force=True).path == second.path
    assert open_on(A).path == first.path
    assert open_on(B, stop_at="3").config().force, "it was begun by force, and so goes on with it"


def test_force_begins_another_beside_an_unfinished_run_of_the_same_data(open_on):
    first = open_on(A)
    train(first, until=4)
    second = open_on(A, force=True)
    assert second.name == f"{first.name}-attempt2"
    train(second, until=4)
    assert open_on(A, force=True).path == second.path  # as a cluster asks for it again
    assert open_on(A).path == second.path
    train(second, after=4)
    seal_at(second)
    assert open_on(A, force=True).name == f"{first.name}-attempt3"


def test_a_run_that_never_trained_binds_nobody_to_its_data(open_on):
    first = open_on(A)
    second = open_on(B)
    assert second.name == f"{first.name}-attempt2"
    assert (open_on(A).path, open_on(B).path) == (first.path, second.path)
    assert first.identity() == A


def test_a_copy_of_the_data_goes_on_with_the_run(runs, open_on):
    first = open_on(A)
    train(first, until=4)
    moved = RunDirectory.open_or_create(runs, make_config(**place("/other/place")), {**A, "source": "image folder C"})
    assert moved.path == first.path
    assert moved.config().data.root == "/other/place"


def test_a_run_of_earlier_code_is_compared_as_far_as_can_be(open_on, capsys):
    covers = "relative paths and file sizes"
    listed = [{**data, "loaded": {"digest": data["digest"][:8], "digest_covers": covers}} for data in (A, B)]
    first = open_on(listed[0])
    train(first, until=4)
    seal_at(first, 4)
    as_earlier_code_left_it(first, {**A, "digest": A["digest"][:8], "digest_covers": covers})
    with pytest.raises(UserError, match="was begun on image folder A"):
        open_on(listed[1])
    assert open_on(listed[0]).identity() == listed[0]
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"force=true"):
        open_on(listed[1])


def test_a_run_of_earlier_code_that_says_nothing_is_taken_over_with_a_line(open_on, capsys):
    first = open_on(A)
    train(first, until=4)
    as_earlier_code_left_it(first, None)
    assert open_on(B).path == first.path
    assert f"run {first.name} was begun by code that did not keep what it read" in capsys.readouterr().err
    with pytest.raises(UserError, match="was begun on image folder B"):
        open_on(A)
    assert capsys.readouterr().err == ""


def test_a_finished_run_of_earlier_code_is_found_and_not_changed(open_on):
    first = open_on(A)
    train(first)
    seal_at(first)
    as_earlier_code_left_it(first, {**A, "digest": "0" * 64, "digest_covers": "vocabulary and tokens in order"})
    assert open_on(A).path == first.path
    assert not first.data_path.exists()


def test_damaged_data_json_is_named(open_on):
    first = open_on(A)
    train(first, until=4)
    first.data_path.write_text("{")
    with pytest.raises(UserError, match=r"data\.json is damaged .* move it away"):
        open_on(A)
    first.data_path.unlink()
    assert open_on(A).path == first.path


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 4], ids=["every line", "every fourth line"])
def test_a_kill_at_any_line_of_creation_leaves_a_run_that_other_data_may_have(runs, open_on, kill_at_every_line, step):
    from experiments.record import atomic, run_directory

    def check():
        found = open_on(B)
        assert found.identity() == B
        for path in sorted(runs.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()

    assert kill_at_every_line(lambda: None, lambda: open_on(A), check, run_directory, atomic, step=step) >= 30
