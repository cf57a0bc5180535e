import json
import math
import resource
from pprint import pformat

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.record.events import EventLog, check_chain, read_events
from experiments.schema.errors import UserError

NON_FINITE = {"nan", "inf", "-inf"}
names = st.text(max_size=8).filter(lambda name: name not in ("kind", "hash"))
texts = st.text(max_size=8).filter(lambda text: text not in NON_FINITE)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
events = st.lists(st.dictionaries(names, values, max_size=4), max_size=6)


def write(path, some_events) -> EventLog:
    log = EventLog(path)
    for event in some_events:
        log.append("train", **event)
    return log


def numbered(count):
    return [{"update": update, "loss": 1.0 / (update + 1)} for update in range(count)]


def spelled(event) -> str:
    """Equal exactly for equal bits: tells -0.0 from 0.0, 1 from 1.0, and takes NaN for NaN."""
    return pformat(event)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events)
def test_events_come_back_as_they_were_in_strict_json(tmp_path_factory, some_events):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    log = write(path, some_events)
    log.close()
    back = read_events(path)
    assert [spelled(event) for event in back] == [spelled({"kind": "train", **event}) for event in some_events]
    assert check_chain(path) == []
    for line in path.read_bytes().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert log.position()["bytes"] == path.stat().st_size


def test_non_finite_numbers_and_numpy_scalars(tmp_path):
    write(tmp_path / "log", [{"a": math.nan, "b": [math.inf, -math.inf], "c": np.float32(0.5), "d": np.int64(7)}])
    (event,) = read_events(tmp_path / "log")
    assert math.isnan(event["a"]) and event["b"] == [math.inf, -math.inf]
    assert (event["c"], event["d"]) == (0.5, 7)


@pytest.mark.parametrize("bad", [{"hash": 1}, {"x": object()}, {"x": {1: 2}}, {"x": np.zeros(3)}])
def test_what_cannot_be_written_leaves_no_trace(tmp_path, bad):
    log = write(tmp_path / "log", numbered(2))
    before = (tmp_path / "log").read_bytes()
    with pytest.raises((TypeError, ValueError)):
        log.append("train", **bad)
    assert (tmp_path / "log").read_bytes() == before
    log.append("train", update=2)
    assert check_chain(tmp_path / "log") == []


def test_a_log_closed_and_reopened_anywhere_is_the_log_of_one_sitting(tmp_path):
    write(tmp_path / "whole", numbered(6)).close()
    for cut in range(7):
        path = tmp_path / f"log-{cut}"
        write(path, numbered(6)[:cut]).close()
        write(path, numbered(6)[cut:]).close()
        assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_log_torn_at_any_byte_is_cut_back_and_ends_the_same(tmp_path):
    whole = tmp_path / "whole.jsonl"
    positions = []
    log = EventLog(whole)
    for event in numbered(4):
        positions.append(log.position())
        log.append("train", **event)
    content = whole.read_bytes()
    checkpoint = positions[2]
    for length in range(checkpoint["bytes"], len(content) + 1):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "events.jsonl").write_bytes(content[:length])
        log = EventLog(folder / "events.jsonl")
        tail = log.cut_back(checkpoint)
        for event in numbered(4)[2:]:
            log.append("train", **event)
        log.close()
        assert (folder / "events.jsonl").read_bytes() == content
        kept = tail.read_bytes() if tail else b""
        assert kept == content[checkpoint["bytes"] : length]


def test_a_torn_line_is_set_aside_without_a_checkpoint_too(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, numbered(2)).close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"tra')
    assert len(read_events(path)) == 2
    assert check_chain(path) == ["event 2 is incomplete"]
    log = EventLog(path)
    log.append("train", **numbered(3)[2])
    assert check_chain(path) == []
    assert len(read_events(path)) == 3
    assert (tmp_path / "events.tail-1.jsonl").read_bytes() == b'{"kind":"tra'


def test_every_different_tail_is_kept(tmp_path):
    log = write(tmp_path / "events.jsonl", numbered(1))
    start = log.position()
    for loss in (1.0, 2.0, 1.0):
        log.append("train", loss=loss)
        log.cut_back(start)
    tails = [path.read_bytes() for path in sorted(tmp_path.glob("events.tail-*.jsonl"))]
    assert [json.loads(tail)["loss"] for tail in tails] == [1.0, 2.0]
    log.cut_back(None)
    assert (tmp_path / "events.jsonl").read_bytes() == b""
    assert log.position() == {"bytes": 0, "events": 0, "hash": "0" * 64}


def test_a_log_altered_or_lost_before_the_checkpoint_is_refused(tmp_path):
    path = tmp_path / "events.jsonl"
    log = write(path, numbered(4))
    position = log.position()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"loss":0.5', b'"loss":0.6'))
    with pytest.raises(UserError, match=r"event 1 \(train at update 1\)"):
        EventLog(path).cut_back(position)
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    with pytest.raises(UserError, match="2 events are left of 4"):
        EventLog(path).cut_back(position)
    assert not list(tmp_path.glob("*.tail-*"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_is_found_and_its_event_named(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    write(path, numbered(5)).close()
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 2))  # the last byte ends the last line
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    event = path.read_bytes()[:place].count(b"\n")
    path.write_bytes(content)
    assert check_chain(path)[0].startswith(f"event {event} ")


@pytest.mark.parametrize("change", ["remove", "swap", "repeat"])
def test_events_moved_as_wholes_are_found(tmp_path, change):
    path = tmp_path / "events.jsonl"
    write(path, numbered(5)).close()
    lines = path.read_bytes().splitlines(keepends=True)
    moved = {
        "remove": lines[:2] + lines[3:],
        "swap": [*lines[:2], lines[3], lines[2], lines[4]],
        "repeat": [*lines[:2], lines[1], *lines[2:]],
    }
    path.write_bytes(b"".join(moved[change]))
    assert check_chain(path)[0].startswith("event 2 ")


def test_a_full_disk_leaves_a_whole_log_that_goes_on_later(tmp_path):
    log = write(tmp_path / "log", numbered(3))
    before = (tmp_path / "log").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(OSError):
            log.append("train", update=3)
        assert (tmp_path / "log").read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.append("train", update=3)
    assert check_chain(tmp_path / "log") == []
    assert [event["update"] for event in read_events(tmp_path / "log")] == [0, 1, 2, 3]


def test_a_line_that_is_no_event_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, numbered(2)).close()
    path.write_bytes(path.read_bytes() + b"[1, 2]\n")
    with pytest.raises(UserError, match="event 2 "):
        read_events(path)
