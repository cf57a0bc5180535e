"""Exit statuses of `run.py` and its workers."""

from __future__ import annotations

DONE = 0
FAILED = 1
USER_ERROR = 2
REQUEUE = 75  # EX_TEMPFAIL: stopped by SIGTERM after a checkpoint, run it again
INTERRUPTED = 130  # stopped by Ctrl-C
