"""Peak memory of a run, of the host and of its accelerator, also where a process holds several runs in turn."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import torch

CLEAR_REFERENCES = Path("/proc/self/clear_refs")  # writing 5 resets the peak, Linux 4.0 and later (proc(5))
STATUS = Path("/proc/self/status")


def reset_peak(device: torch.device) -> None:
    """Forget the peaks so far, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
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


def accelerator(device: torch.device, count: int) -> dict[str, Any] | None:
    """Describe the GPUs of a run for the record: name, how many, peak memory of rank 0's. None on a CPU."""
    if device.type != "cuda":
        return None
    name, peak = torch.cuda.get_device_name(device), torch.cuda.max_memory_allocated(device)
    return {"name": name, "count": count, "peak_memory_bytes": peak}
