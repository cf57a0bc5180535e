"""Real processes in surroundings that lack something: room for output, a home, a parent, the right checkout."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.schema import paths

RUN_PY = str(paths.ROOT / "run.py")
SHORT = ["exp=vit_small", "optim=adan", "stop_at=2updates"]
LONG = ["exp=vit_small", "data=digits", "batch_size=16384", "schedule.epochs=200", "launch.threads=1"]


@pytest.fixture
def start(environment, tmp_path):
    """Starts a process that hears of a closed terminal, even where the tests do not (under nohup), and that ends with
    its test."""
    started: list[subprocess.Popen] = []

    def start(*arguments: str, environment=environment, **keywords) -> subprocess.Popen:
        keywords = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True} | keywords
        command = [sys.executable, *arguments]
        hears = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, preexec_fn=hears, **keywords))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def checkpoints(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "runs").glob("*/checkpoints/update-*.pt"))


def held_by(tmp_path: Path) -> int:
    """The process that trains the one run that was begun, 0 for none."""
    (lock,) = (tmp_path / "runs").glob("*/lock")
    return json.loads(lock.read_text() or '{"pid": 0}')["pid"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_modules_are_imported_asks_to_be_run_again(start, environment, tmp_path, number):
    """The process is kept in an early import, by a module of the name of one."""
    stand_in = "import time; print('importing', flush=True); time.sleep(60)"
    (tmp_path / "yaml.py").write_text(stand_in)
    process = start(RUN_PY, *SHORT, environment=environment | {"PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "importing\n"
    process.send_signal(number)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 75


@pytest.mark.parametrize(
    ("where", "status", "answer"),
    [
        (">/dev/full", 1, "error: standard output could not be written: No space left on device\n"),
        (">&-", 0, ""),  # nobody wants to read it
        ("| head -c 9 >/dev/null", 0, ""),
    ],
)
def test_help_that_cannot_be_written(environment, tmp_path, where, status, answer):
    command = ["sh", "-c", f"{sys.executable} {RUN_PY} --help {where}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, answer)


@pytest.mark.slow
def test_a_run_whose_output_is_lost_trains_on_and_is_sealed(start, tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        process = start(RUN_PY, *SHORT, stdout=full)
        assert process.communicate(timeout=240)[1].count("Traceback") == 0
    assert process.returncode == 0
    assert list((tmp_path / "runs").glob("*/record.json"))


@pytest.mark.slow
def test_a_child_whose_parent_is_killed_checkpoints_and_leaves(start, tmp_path):
    process = start(RUN_PY, "-m", *LONG, "seed=0,1", stderr=subprocess.DEVNULL)
    wait_for(lambda: checkpoints(tmp_path))
    assert held_by(tmp_path) not in (0, process.pid)
    process.kill()
    process.wait()
    wait_for(lambda: held_by(tmp_path) == 0, 60)
    assert not list((tmp_path / "runs").glob("*/record.json"))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["launch.devices=2"], ["-m", "seed=0,1"]], ids=["alone", "ranks", "sweep"])
def test_a_terminal_that_is_closed_ends_a_run_with_a_checkpoint(start, tmp_path, arguments):
    process = start(RUN_PY, *LONG, *arguments, start_new_session=True)
    wait_for(lambda: checkpoints(tmp_path))
    os.killpg(process.pid, signal.SIGHUP)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    assert held_by(tmp_path) == 0
    assert not list((tmp_path / "runs").glob("*/record.json"))


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def killed(process: subprocess.Popen, *depths: int) -> None:
    """Kill with -9 a child of the process, or with more depths a child of one: which, by its place."""
    pid = process.pid
    for place in depths:
        pid = children(pid)[place]
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds children in /proc")
@pytest.mark.parametrize(
    ("arguments", "depths", "sentence"),
    [
        (["data.workers=2"], [-1], "a process that reads data was killed"),
        (["launch.devices=2", "data.workers=2"], [-1, -1], "a process that reads data was killed"),
        (["launch.devices=2"], [-1], "ranks were killed (SIGKILL)|lost another rank"),
    ],
    ids=["reader", "reader of a rank", "rank"],
)
def test_a_process_of_a_run_that_is_killed_is_named_and_the_same_command_goes_on(
    start, door, tmp_path, arguments, depths, sentence
):
    process = start(RUN_PY, *LONG, *arguments)
    wait_for(lambda: checkpoints(tmp_path))
    killed(process, *depths)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1, errors
    assert "Traceback" not in errors and all(line.startswith("error: ") for line in errors.splitlines()), errors
    assert any(part in errors for part in sentence.split("|")) and "the same command goes on" in errors, errors
    reached = max(checkpoints(tmp_path)).name[:15]
    answer = door(*LONG, *arguments, "stop_at=3")
    assert answer.returncode == 0 and "begins again" not in answer.stdout, answer.stderr
    assert reached <= max(checkpoints(tmp_path)).name[:15]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of a given size")
def test_a_disk_that_fills_while_training_is_named_and_the_same_command_goes_on_with_room(door, tmp_path):
    """The first checkpoint, of 4 MB, finds room, the second none."""
    disk = tmp_path / "runs"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk]).returncode:
        pytest.skip("needs to mount a file system")
    try:
        for _ in range(2):
            full = door(*LONG)
            assert full.returncode == 1 and "epoch 2/201" in full.stdout
            assert full.stderr.count("\n") == 1 and "No space left on device; the same command goes on" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        room = door(*LONG, "stop_at=3")
        assert room.returncode == 0 and "epoch 1/201" not in room.stdout, room.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_nohup_is_honoured(start, tmp_path):
    ignoring = f"import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv({sys.executable!r}, "
    ignoring += f"{[sys.executable, RUN_PY, *SHORT]!r})"
    process = start("-c", ignoring)
    wait_for(lambda: list((tmp_path / "runs").glob("*/lock")))
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=240)[1].count("Traceback") == 0
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.parametrize("arguments", [["--help"], [*SHORT, "launch=plan"], SHORT], ids=["help", "plan", "training"])
def test_a_user_without_a_name_or_a_home(environment, tmp_path, arguments):
    tmp_path.chmod(0o777)
    become = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
    become += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    nobody = {name: text for name, text in environment.items() if name not in ("HOME", "USER", "LOGNAME")}
    command = [*become, sys.executable, RUN_PY, *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env=nobody | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_scripts_use_the_checkout_in_which_they_stand(environment, tmp_path):
    """Another one, a stand-in, is on PYTHONPATH before it, as an installation is."""
    package = tmp_path / "installed" / "experiments"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('the other checkout')")
    other = environment | {"PYTHONPATH": str(package.parent)}
    for script in ("make_tables.py", "verify.py", "record_episode.py"):
        command = [sys.executable, str(paths.ROOT / "scripts" / script), "--help"]
        done = subprocess.run(command, cwd=tmp_path, env=other, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_every_script_imports_its_checkout_before_any_package_of_it():
    for script in (paths.ROOT / "scripts").glob("*.py"):
        lines = script.read_text().splitlines()
        ours = [number for number, line in enumerate(lines) if line.startswith(("from experiments", "from adan"))]
        if ours and "__main__" in script.read_text():
            assert any(line.split("  #")[0] == "import checkout" for line in lines[: ours[0]]), script.name
