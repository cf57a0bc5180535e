"""Cores of this machine, shared among the ranks and jobs that run at the same time."""

from __future__ import annotations

import os


def share_cores(processes: int) -> None:
    """Let each of `processes` processes started from here use its share of the cores; one alone has torch's default.

    The environment carries it, as `OMP_NUM_THREADS`; a value that the user has set stays, and `launch.threads`
    goes before both.
    """
    if processes > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
