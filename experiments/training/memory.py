"""Peak resident memory of one run, also where a process holds several runs one after the other."""

from __future__ import annotations

import resource
from pathlib import Path

CLEAR_REFERENCES = Path("/proc/self/clear_refs")  # writing 5 resets the peak, Linux 4.0 and later (proc(5))
STATUS = Path("/proc/self/status")


def reset_peak() -> None:
    """Forget the peak so far, where the system can."""
    try:
        CLEAR_REFERENCES.write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Largest resident set since `reset_peak` (since the process began where that is unsupported)."""
    try:
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
