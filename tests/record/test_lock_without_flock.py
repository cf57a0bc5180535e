"""File systems that lack something: the same promises, with a warning."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.record import lock
from experiments.record.atomic import sync_folder, write_atomically
from experiments.record.lock import Held, locked

COUNT = """
import errno, fcntl, sys
from pathlib import Path
def flock(*_): raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = flock
from experiments.record.lock import locked
folder = Path(sys.argv[1])
for _ in range(40):
    with locked(folder / "lock", wait=True):
        number = int((folder / "count").read_text())
        (folder / "count").write_text(str(number + 1))
"""


@pytest.fixture
def no_flock(monkeypatch):
    def flock(_descriptor, _operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)


def owner(**changes) -> bytes:
    return json.dumps({**lock._myself(), **changes}).encode()


def test_processes_exclude_each_other(tmp_path: Path):
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    started = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], errors
    assert (tmp_path / "count").read_text() == "120"
    assert all(error.count("without flock") == 1 for error in errors)
    assert {path.name for path in tmp_path.iterdir()} == {"count", "lock"}


def test_who_holds_it_is_named_and_a_released_one_is_free(tmp_path: Path, no_flock):
    for _ in range(2):
        with (
            locked(tmp_path / "lock"),
            pytest.raises(Held, match=f"process {os.getpid()} on .*remove that file"),
            locked(tmp_path / "lock"),
        ):
            pass


@pytest.mark.parametrize("changes", [{"started": "1"}, {"pid": 2**22 + 1}], ids=["another of its number", "none"])
def test_what_a_killed_process_left_is_taken_over(tmp_path: Path, no_flock, changes):
    (tmp_path / "lock.owner").write_bytes(owner(**changes))
    with locked(tmp_path / "lock"):
        assert json.loads((tmp_path / "lock.owner").read_bytes())["pid"] == os.getpid()
    assert not (tmp_path / "lock.owner").exists()


def test_of_another_machine_nobody_can_tell(tmp_path: Path, no_flock):
    (tmp_path / "lock.owner").write_bytes(owner(host="node7", pid=2**22 + 1))
    with pytest.raises(Held, match=f"process {2**22 + 1} on node7"), locked(tmp_path / "lock"):
        pass


def test_without_hard_links_either(tmp_path: Path, no_flock, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with locked(tmp_path / "lock"), pytest.raises(Held), locked(tmp_path / "lock"):
        pass
    assert socket.gethostname()
    assert not (tmp_path / "lock.owner").exists()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.EACCES])
def test_folders_that_cannot_be_synchronised_are_passed_over(tmp_path: Path, monkeypatch, number):
    fsync = os.fsync

    def of_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files)
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_disk_that_fails_is_not_passed_over(tmp_path: Path, monkeypatch):
    def fails(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)
