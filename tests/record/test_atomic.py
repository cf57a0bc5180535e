import os
import resource
import sys
from pathlib import Path

import pytest

from experiments.record import atomic
from experiments.record.atomic import keep_beside, remove_leftovers, write_atomically


def test_a_kill_at_any_line_leaves_the_old_file_or_the_new(tmp_path, kill_at_every_line):
    path, old, new = tmp_path / "file", b"old" * 1000, b"new" * 5000
    seen = set()

    def check():
        seen.add(path.read_bytes())
        remove_leftovers(tmp_path)
        assert [other.name for other in tmp_path.iterdir()] == ["file"]

    killed = kill_at_every_line(lambda: path.write_bytes(old), lambda: write_atomically(path, new), check, atomic)
    assert killed >= 10
    assert seen == {old, new}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_content_is_on_disk_before_it_has_the_name_and_the_name_before_we_return(tmp_path, monkeypatch):
    path, seen = tmp_path / "file", []

    def note(descriptor):
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink(), path.exists()))

    monkeypatch.setattr(os, "fsync", note)
    write_atomically(path, b"new")
    (temporary, named), (folder, named_then) = seen
    assert temporary.name.startswith(".file.") and not named
    assert folder == tmp_path and named_then


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError):
            write_atomically(path, b"new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert [other.name for other in tmp_path.iterdir()] == ["file"]


def test_a_view_of_memory_is_written_as_it_is(tmp_path):
    write_atomically(tmp_path / "file", memoryview(bytearray(b"abc")))
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_keep_beside_never_overwrites_and_keeps_equal_content_once(tmp_path):
    def keep(data: bytes) -> str:
        return keep_beside(tmp_path, (f"tail-{number}" for number in range(1, 9)), data).name

    assert [keep(b"a"), keep(b"b"), keep(b"a"), keep(b"b"), keep(b"c")] == [
        "tail-1",
        "tail-2",
        "tail-1",
        "tail-2",
        "tail-3",
    ]
    assert (tmp_path / "tail-1").read_bytes() == b"a"
