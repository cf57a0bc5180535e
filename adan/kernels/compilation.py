"""Builds the CPU kernel with the system's compiler, once, and keeps it in the user's cache.

Nothing happens at installation or import. The first step of an optimizer on a CPU asks for `library()`; where the
cache has no build for this source, compiler and CPU, one is made in about a second, and a line on stderr says so. The
CPU's model and features are part of the key: a home directory shared by unlike nodes holds one build for each.

Threads come from the OpenMP runtime that torch has loaded: the object is compiled with OpenMP but not linked with
it, so its symbols are found in torch's, and there are never two pools of threads. Where torch brings none, or the
compiler knows no OpenMP, the kernel runs on one thread.

Environment: `CXX` names the compiler, `ADAN_CACHE_DIR` the cache (default: `adan` in `XDG_CACHE_HOME` or ~/.cache).
A cache that is of no use (mounted noexec, full, not to be written) gives way to a folder for temporary files.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("cpu.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
# The first that the compiler takes; clang on Arm knows only -mcpu.
CPU_FLAGS = (("-march=native",), ("-mcpu=native",), ())
OPENMP, NO_THREADS = "-fopenmp", "-fopenmp-simd"
# What the objects of gcc and clang call for a parallel region.
OPENMP_SYMBOLS = ("GOMP_parallel", "__kmpc_fork_call")
SECONDS_TO_COMPILE = 120
BYTES_TO_BUILD = 1 << 20
# A build has a file with its digest beside it: loading half a library kills the process.
DIGEST = ".sha256"


class KernelUnavailable(RuntimeError):
    """A kernel cannot run here; the message says why."""


def library(source: Path = SOURCE) -> ctypes.CDLL:
    """The kernel, loaded; built before if need be. Raises KernelUnavailable, every time at the cost of one try."""
    result = _library_or_reason(source)
    if isinstance(result, str):
        raise KernelUnavailable(result)
    return result


@cache
def library_digest(source: Path = SOURCE) -> str:
    """SHA-256 of the file that `library` loads, in 64 hex digits: what ran, for records. Raises KernelUnavailable."""
    return _digest(Path(library(source)._name))


@cache
def _library_or_reason(source: Path) -> ctypes.CDLL | str:
    if sys.platform == "win32":
        return "it is not built on Windows"
    compiler = _compiler()
    if compiler is None:
        return f"no C++ compiler: neither $CXX nor {', '.join(COMPILERS)} is a program on the PATH"
    reasons = []
    for openmp in (OPENMP, NO_THREADS) if _openmp_is_loaded() else (NO_THREADS,):
        try:
            library = _loaded(source, compiler, openmp)
        except (OSError, KernelUnavailable) as error:
            reasons.append(str(error))
            continue
        if openmp == NO_THREADS:
            print("adan: no OpenMP: the CPU kernel runs on one thread", file=sys.stderr)
        return library
    return "; ".join(dict.fromkeys(reasons))


def _loaded(source: Path, compiler: list[str], openmp: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(_kept_or_built(source, compiler, openmp, keep=True)))
    except OSError:  # built where the system's libraries are others
        return ctypes.CDLL(str(_kept_or_built(source, compiler, openmp, keep=False)))


def _compiler() -> list[str] | None:
    """The first compiler that is there, as a command; `CXX` may carry arguments. Says so where `CXX` is none."""
    asked = os.environ.get("CXX", "")
    try:
        command = shlex.split(asked)
    except ValueError:  # a quote without its end
        command = [asked]
    candidates = [command, *([name] for name in COMPILERS)]
    found = next(([path, *rest] for name, *rest in filter(None, candidates) if (path := shutil.which(name))), None)
    if command and (found is None or shutil.which(command[0]) is None):
        instead = f"{found[0]} is used" if found else "and there is no other compiler"
        print(f"adan: CXX={asked} is no program on the PATH: {instead}", file=sys.stderr)
    return found


def _openmp_is_loaded() -> bool:
    """Whether a library loaded now finds an OpenMP runtime, which is then torch's."""
    loaded = ctypes.CDLL(None)
    return any(hasattr(loaded, name) for name in OPENMP_SYMBOLS)


def _kept_or_built(source: Path, compiler: list[str], openmp: str, keep: bool) -> Path:
    """The built file: the one in the cache if `keep`. KernelUnavailable with what the compiler said."""
    key = hashlib.sha256()
    version = _output_of([*compiler, "--version"])
    for part in (source.read_text(), repr(compiler), version, openmp, repr(FLAGS), cpu_model()):
        key.update(part.encode() + b"\0")
    name = f"{source.stem}-{key.hexdigest()[:24]}.so"
    folders = list(_cache_folders())
    for folder in folders:
        if keep and _may_be_loaded(folder / name):
            return folder / name
    errors: list[str] = []
    for folder in folders:
        try:
            if _forbids_running(folder):
                raise PermissionError("on a file system from which nothing may be run (noexec)")
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_ours(folder):
                raise PermissionError("others may write to it")
            with _alone(folder), tempfile.TemporaryDirectory(dir=folder) as scratch:
                if not (keep and _may_be_loaded(folder / name)):  # unless another process was faster
                    _require_room(Path(scratch))
                    if errors:
                        print(f"adan: no kernel can be kept in {'; '.join(errors)}", file=sys.stderr)
                    _build(source, compiler, openmp, Path(scratch), folder / name)
                return folder / name
        except OSError as error:
            errors.append(f"{folder}: {error.strerror or error}")
    raise KernelUnavailable(f"no folder to build in: {'; '.join(errors)}")


def _build(source: Path, compiler: list[str], openmp: str, scratch: Path, target: Path) -> None:
    """Compile in `scratch`, then move into place in one step: nobody ever sees half a file."""
    _output_of([*compiler, openmp, "-E", "-x", "c++", os.devnull])  # refused before anybody is told to wait
    print(f"adan: building the CPU kernel with {compiler[0]}, once for this machine and compiler ...", file=sys.stderr)
    begin = time.monotonic()
    built, object_file = scratch / target.name, scratch / "object.o"
    errors = []
    for cpu in CPU_FLAGS:
        try:
            _output_of([*compiler, *FLAGS, *cpu, openmp, "-c", str(source), "-o", str(object_file)])
            undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
            _output_of([*compiler, "-shared", *undefined, str(object_file), "-o", str(built), "-lm"])
            if not built.exists():
                raise KernelUnavailable(f"{compiler[0]} made no library: is it a C++ compiler?")
        except KernelUnavailable as error:
            errors.append(str(error))
            continue
        digest = scratch / "digest"
        digest.write_text(_digest(built))
        digest.replace(target.with_suffix(DIGEST))
        built.chmod(0o755)
        built.replace(target)
        print(f"adan: built in {time.monotonic() - begin:.1f} s: {target}", file=sys.stderr)
        return
    raise KernelUnavailable(errors[0])


def _require_room(scratch: Path) -> None:
    """OSError where a build does not fit: what the compiler says of that is taken for a mistake in the source."""
    room = scratch / "room"
    room.write_bytes(bytes(BYTES_TO_BUILD))
    room.unlink()


def _output_of(command: list[str]) -> str:
    """Return what `command` printed. Raises KernelUnavailable with its first error where it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_TO_COMPILE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelUnavailable(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
        raise KernelUnavailable(f"{command[0]} failed: {lines[0].strip()}")
    return done.stdout


def _cache_folders() -> Iterator[Path]:
    """Where builds may be kept, best first: the cache, or a folder of this user's own for temporary files."""
    temporary = Path(tempfile.gettempdir()) / f"adan-{os.getuid()}"
    if chosen := _chosen_cache():
        yield chosen
    else:
        with suppress(RuntimeError):  # no home directory
            yield Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "adan"
    yield temporary


def _chosen_cache() -> Path | None:
    """The folder that `ADAN_CACHE_DIR` names; a ~ that means nothing is left as it is."""
    chosen = os.environ.get("ADAN_CACHE_DIR")
    return Path(os.path.expanduser(chosen)).resolve() if chosen else None  # noqa: PTH111


def _forbids_running(folder: Path) -> bool:
    """Whether `folder`, or where it would be created, is on a file system that is mounted noexec."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), folder)
    try:
        return bool(os.statvfs(there).f_flag & getattr(os, "ST_NOEXEC", 0))
    except OSError:
        return False


def _may_be_loaded(path: Path) -> bool:
    """Whether `path` is there, whole, and nobody but this user or root can have written it: it will be run."""
    try:
        return _is_ours(path) and _is_ours(path.parent) and path.with_suffix(DIGEST).read_text() == _digest(path)
    except OSError:
        return False


def _is_ours(path: Path) -> bool:
    found = path.stat()
    trusted = found.st_uid in (os.getuid(), 0) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    chosen = _chosen_cache()
    return trusted or (chosen is not None and path.absolute().is_relative_to(chosen))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process of this machine build at a time, where the file system can tell."""
    import fcntl

    with (folder / "lock").open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cpu_model() -> str:
    """Return what decides which instructions `-march=native` may use: the model and features of this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        brand = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return f"{platform.machine()} {brand.stdout.strip()}"
    wanted = ("vendor_id", "model name", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(
        [platform.machine(), *(line for line in lines if line.split("\t")[0].split(":")[0].strip() in wanted)]
    )
