"""Exclusive use of a file name by one process, released by the kernel however that process ends.

Where the file system has no flock (Lustre mounted without it, some of NFS and FUSE), a file beside it, `<name>.owner`,
says who has the lock. It is held as long as that process lives; of a process on another machine nobody can tell.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

# How file systems say that they have no flock, or no hard links.
WITHOUT_FLOCK = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
WITHOUT_LINKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EMLINK}
SECONDS_BETWEEN_LOOKS = 0.05

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
    except OSError as error:
        os.close(descriptor)
        if error.errno not in WITHOUT_FLOCK:
            raise
        with _owned(path.with_name(f"{path.name}.owner"), wait):
            yield
        return
    except BaseException:
        os.close(descriptor)
        raise
    _held.add(descriptor)
    _write(descriptor, json.dumps(_myself()).encode())
    try:
        yield
    finally:
        if descriptor in _held:  # false in a forked child, which gave it up at birth
            _held.remove(descriptor)
            _write(descriptor, b"")
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


@contextmanager
def _owned(path: Path, wait: bool) -> Iterator[None]:
    """The same as `locked` by a file that its owner creates and removes."""
    _say_once(f"{path.parent} is on a file system without flock: {path.name} says which process uses it")
    mine, me = json.dumps(_myself()).encode(), os.getpid()
    while not _created(path, mine):
        theirs = _content_of(path)
        if theirs is None:
            continue
        if _is_gone(theirs):
            _take_away(path, theirs)
        elif wait:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        else:
            raise Held(f"{_describe(theirs)}, as {path} says (remove that file if the process is gone)")
    try:
        yield
    finally:
        if os.getpid() == me and _content_of(path) == mine:
            path.unlink(missing_ok=True)


def _created(path: Path, content: bytes) -> bool:
    """Create `path` with its content in one step; False where it is there already."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    draft.write_bytes(content)
    try:
        os.link(draft, path)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
    finally:
        draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return False
    os.write(descriptor, content)
    os.close(descriptor)
    return True


def _content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_gone(content: bytes) -> bool:
    """Whether the process that wrote this of itself ran here and runs no more."""
    try:
        owner = json.loads(content)
        if owner["host"] != socket.gethostname():
            return False
        return _started(owner["pid"]) != owner["started"]
    except (ValueError, KeyError, TypeError):
        return False


def _take_away(path: Path, content: bytes) -> None:
    """Remove the file of an owner that is gone. Of several that find it so one does, and none a newer owner's."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if aside.read_bytes() != content:  # somebody was faster, and has the lock now
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _myself() -> dict[str, object]:
    since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "started": _started(os.getpid())}


def _started(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's own count: another one of the same number began at another
    time. Where there is no /proc, whether it runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"


@functools.cache
def _say_once(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr, flush=True)


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
