"""Processes that have torch imported and nothing else done: forked from one that paid for the import.

The multiprocessing fork server will not do: there is one per process, and the tests of training preload theirs.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SERVER = """
import json, os, sys, tempfile, traceback
import torch, torch._dynamo  # what the first optimizer imports; starts no threads

def run(job):
    os.environ.clear()
    os.environ.update(job["environment"])
    tempfile.tempdir = None
    for number, path in ((1, job["stdout"]), (2, job["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    status = 1
    try:
        exec(job["code"], {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)

for line in sys.stdin:
    children = [os.fork() or run(job) for job in json.loads(line)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(json.dumps(codes), flush=True)
"""


@dataclass
class Ended:
    """What a process left: exit code (negative: the signal that killed it), standard output and error."""

    returncode: int
    stdout: str
    stderr: str


class ForkedTorch:
    """Runs Python code in processes of their own. A context manager; `folder` is for their output."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __enter__(self) -> "ForkedTorch":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._server = subprocess.Popen([sys.executable, "-c", _SERVER], text=True, **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.wait()

    def run(self, *codes: str, **environment: str | None) -> list[Ended]:
        """Run all `codes` at once, in this process's environment with changes (None unsets)."""
        variables = {k: v for k, v in {**os.environ, **environment}.items() if v is not None}
        jobs = []
        for code in codes:
            self._count += 1
            output = {name: str(self._folder / f"{self._count}.{name}") for name in ("stdout", "stderr")}
            jobs.append({"code": code, "environment": variables, **output})
        print(json.dumps(jobs), file=self._server.stdin, flush=True)
        ends = json.loads(self._server.stdout.readline())
        return [
            Ended(end, *(Path(job[name]).read_text() for name in ("stdout", "stderr")))
            for end, job in zip(ends, jobs, strict=True)
        ]
