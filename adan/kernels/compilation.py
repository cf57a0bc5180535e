"""Builds the CPU kernel with the system's compiler, once, and keeps it in the user's cache.

Nothing happens at installation or import. The first step of an optimizer on a CPU asks for `library()`; where the
cache has no build for this source, compiler and CPU, one is made in about a second, and a line on stderr says so. The
CPU's model and features are part of the key: a home directory shared by unlike nodes holds one build for each.

Threads come from the OpenMP runtime that torch has loaded: the object is compiled with OpenMP but not linked with
it, so its symbols are found in torch's, and there are never two pools of threads. Where torch brings none, or the
compiler knows no OpenMP, the kernel runs on one thread.

Environment: `CXX` names the compiler, `ADAN_CACHE_DIR` the cache (default: `adan` in `XDG_CACHE_HOME` or ~/.cache).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("cpu.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
# The first that the compiler takes; clang on Arm knows only -mcpu.
CPU_FLAGS = (("-march=native",), ("-mcpu=native",), ())
# What the objects of gcc and clang call for a parallel region.
OPENMP_SYMBOLS = ("GOMP_parallel", "__kmpc_fork_call")
SECONDS_TO_COMPILE = 120


class KernelUnavailable(RuntimeError):
    """A kernel cannot run here; the message says why."""


@cache
def library() -> ctypes.CDLL:
    """The kernel, loaded; built before if need be. Raises KernelUnavailable (every time, at the cost of one try)."""
    result = _library_or_reason()
    if isinstance(result, str):
        raise KernelUnavailable(result)
    return result


@cache
def _library_or_reason() -> ctypes.CDLL | str:
    compiler = _compiler()
    if compiler is None:
        return f"no C++ compiler: neither $CXX nor {', '.join(COMPILERS)} is a program on the PATH"
    reasons = []
    for openmp in _openmp_flags():
        try:
            return ctypes.CDLL(str(_cached_or_built(compiler, openmp)))
        except (OSError, KernelUnavailable) as error:
            reasons.append(f"{error}")
    return "; ".join(dict.fromkeys(reasons))


def _compiler() -> str | None:
    candidates = (os.environ.get("CXX"), *COMPILERS)
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def _openmp_flags() -> tuple[str, ...]:
    """`-fopenmp` where torch's OpenMP runtime can be seen by a library loaded now, and what to fall back to."""
    loaded = ctypes.CDLL(None)
    return (
        ("-fopenmp", "-fopenmp-simd") if any(hasattr(loaded, name) for name in OPENMP_SYMBOLS) else ("-fopenmp-simd",)
    )


def _cached_or_built(compiler: str, openmp: str) -> Path:
    """The kernel's file. Raises KernelUnavailable with what the compiler said, OSError where no folder can be used."""
    version = _output_of([compiler, "--version"])
    key = hashlib.sha256()
    for part in (SOURCE.read_text(), compiler, version, openmp, repr((FLAGS, CPU_FLAGS)), cpu_model()):
        key.update(part.encode() + b"\0")
    name = f"adan-{key.hexdigest()[:24]}.so"
    folders = list(_cache_folders())
    for folder in folders:
        if _is_ours(folder / name):
            return folder / name
    errors = []
    for folder in folders:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                return _build(compiler, openmp, Path(scratch), folder / name)
        except OSError as error:
            errors.append(str(error))
    raise KernelUnavailable(f"no folder to build in: {'; '.join(errors)}")


def _build(compiler: str, openmp: str, scratch: Path, target: Path) -> Path:
    """Compile in `scratch`, then move into place in one step, so that processes that build at once do no harm."""
    print(f"adan: building the CPU kernel with {compiler}, once for this machine and compiler ...", file=sys.stderr)
    begin = time.monotonic()
    built, object_file = scratch / target.name, scratch / "cpu.o"
    errors = []
    for cpu in CPU_FLAGS:
        try:
            _output_of([compiler, *FLAGS, *cpu, openmp, "-c", str(SOURCE), "-o", str(object_file)])
            undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
            _output_of([compiler, "-shared", *undefined, str(object_file), "-o", str(built), "-lm"])
        except KernelUnavailable as error:
            errors.append(str(error))
            continue
        built.replace(target)
        print(f"adan: built in {time.monotonic() - begin:.1f} s: {target}", file=sys.stderr)
        return target
    raise KernelUnavailable(errors[0])


def _output_of(command: list[str]) -> str:
    """What `command` printed. KernelUnavailable with its first error where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_COMPILE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelUnavailable(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
        raise KernelUnavailable(f"{command[0]} failed: {lines[0].strip()}")
    return done.stdout


def _cache_folders() -> Iterator[Path]:
    """Where builds may be kept, best first: the cache, or a folder of this user's own for temporary files."""
    if chosen := os.environ.get("ADAN_CACHE_DIR"):
        yield Path(chosen)
        return
    with suppress(RuntimeError):  # no home directory
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adan"
    yield Path(tempfile.gettempdir()) / f"adan-{os.getuid()}"


def _is_ours(path: Path) -> bool:
    """Whether `path` is a file that only this user (or root) can have put there: it is about to be executed."""
    try:
        found = path.stat()
    except OSError:
        return False
    foreign = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid in (os.getuid(), 0) and not found.st_mode & foreign and not path.parent.stat().st_mode & foreign


def cpu_model() -> str:
    """What decides which instructions `-march=native` may use: the model and features of this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        brand = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return f"{platform.machine()} {brand.stdout.strip()}"
    wanted = ("vendor_id", "model name", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(
        [platform.machine(), *(line for line in lines if line.split("\t")[0].split(":")[0].strip() in wanted)]
    )
