"""Exclusive use of a file name by one process, released by the kernel however that process ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

_held: set[int] = set()  # open descriptors of held locks


class Held(Exception):
    """Another process has the lock; the message says which one, where and since when, as far as known."""


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of `path` (a file, created if absent, never removed) while the block runs.

    With `wait` the call blocks until the lock is free; without, raises Held at once.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _describe(_read(descriptor))
        os.close(descriptor)
        raise Held(holder) from None
    except BaseException:
        os.close(descriptor)
        raise
    _held.add(descriptor)
    since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    _write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode())
    try:
        yield
    finally:
        if descriptor in _held:  # false in a forked child, which gave it up at birth
            _held.remove(descriptor)
            _write(descriptor, b"")
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk must not cost the lock: the text only serves the message
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)


def _read(descriptor: int) -> bytes:
    for _ in range(20):
        content = os.pread(descriptor, 4096, 0)
        if content:
            break
        time.sleep(0.005)  # it has the lock, and is about to write who it is
    return content


def _describe(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _give_up_in_child() -> None:
    # A forked child (a data-loading worker) shares the lock and would keep it when its parent is killed.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_give_up_in_child)
