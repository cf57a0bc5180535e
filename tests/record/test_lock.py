"""Who may write to a run: real processes, real kills."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.schema.errors import UserError

HERE = Path(__file__).resolve()

RACE = """
import sys
from pathlib import Path
from sealed_runs import make_config
from experiments.record.run_directory import RunDirectory
from experiments.schema.errors import UserError

print("ready", flush=True)
sys.stdin.readline()
try:
    with RunDirectory.open_or_create(Path(sys.argv[1]), make_config()).hold():
        print("got it", flush=True)
        sys.stdin.readline()
except UserError as error:
    print(error, flush=True)
"""

HOLD_AND_FORK = """
import os, sys, time
from pathlib import Path
from experiments.record.run_directory import RunDirectory

with RunDirectory(Path(sys.argv[1])).hold():
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def start(script: str, *arguments: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE.parent)])}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def test_of_processes_that_want_the_same_new_run_one_gets_it_and_the_others_learn_who(runs):
    processes = [start(RACE, runs) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.stdout.readline() for process in processes]
    winner = processes[answers.index("got it\n")]
    losers = [answer for answer in answers if answer != "got it\n"]
    assert len(losers) == 3
    for answer in losers:
        assert re.search(rf"held by process {winner.pid} on {re.escape(socket.gethostname())} since \d{{4}}-", answer)
    assert len(list(runs.glob("vit_small*"))) == 1
    for process in processes:
        process.communicate("done\n")
        assert process.returncode == 0


def test_sigkill_releases_the_run_even_while_a_forked_child_lives_on(new_run):
    directory = new_run()
    holder = start(HOLD_AND_FORK, directory.path)
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(UserError, match=f"held by process {holder.pid} "), directory.hold():
            pass
        holder.kill()
        holder.wait()
        os.kill(child, 0)  # still there
        with directory.hold():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        holder.communicate()


def test_a_hold_that_ended_can_be_taken_again(new_run):
    directory = new_run()
    for _ in range(2):
        with directory.hold(), pytest.raises(UserError, match=f"held by process {os.getpid()} "), directory.hold():
            pass


def test_taking_hold_clears_what_a_killed_writer_left(new_run):
    directory = new_run()
    directory.checkpoints.mkdir()
    litter = [directory.path / ".record.json.0a1b.tmp", directory.checkpoints / ".update-00000001.pt.0a1b.tmp"]
    for path in litter:
        path.write_bytes(b"half")
    with directory.hold():
        assert not any(path.exists() for path in litter)
