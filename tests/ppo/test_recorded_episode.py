"""scripts/record_episode.py: a video where mujoco can render, else an error that says what to do."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from killed_runs import train_in_child

from experiments.schema import paths

SCRIPT = paths.ROOT / "scripts" / "record_episode.py"


@pytest.fixture
def refusal(monkeypatch, capsys):
    """What the script says to its arguments on standard error, in this process; it must refuse them."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("record_episode", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*arguments) -> str:
        monkeypatch.setattr(sys, "argv", ["record_episode.py", *map(str, arguments)])
        monkeypatch.setattr(script, "find_spec", lambda name: None if name == "imageio_ffmpeg" else name)
        assert script.main() == 2
        return capsys.readouterr().err

    return run


def test_bad_input_is_refused_before_anything_is_rendered(refusal, begin, tmp_path):
    (run,) = begin("runs", [0])
    (tmp_path / "there.gif").write_bytes(b"kept")
    assert "there.gif exists already" in refusal(run, "--output", tmp_path / "there.gif")
    assert (tmp_path / "there.gif").read_bytes() == b"kept"
    assert "ends in .gif or .mp4" in refusal(run, "--output", tmp_path / "episode.avi")
    assert "pip install imageio-ffmpeg or choose" in refusal(run, "--output", tmp_path / "episode.mp4")
    assert "is not a run directory" in refusal(tmp_path, "--output", tmp_path / "episode.gif")
    assert "has no checkpoint; runs that trained as one batch" in refusal(run, "--output", tmp_path / "episode.gif")


def record(run, output, backend, *arguments):
    command = [sys.executable, str(SCRIPT), str(run), "--output", str(output), *arguments]
    environment = os.environ | {"MUJOCO_GL": backend, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(paths.ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_an_episode_of_one_of_two_seeds_that_trained_together(begin, tmp_path):
    run, _ = both = begin("runs", [0, 1], "schedule.epochs=2")
    assert train_in_child(both) == 0
    output = tmp_path / "episode.gif"
    assert "holds rows 0 to 1" in record(run, output, "egl", "--row", "2").stderr
    answer = record(run, output, "nothing")
    assert answer.returncode == 2
    assert "mujoco cannot render with MUJOCO_GL=nothing" in answer.stderr and "libegl1" in answer.stderr
    answer = record(run, output, "egl", "--row", "1", "--size", "64", "48")
    if "mujoco cannot render" in answer.stderr:
        pytest.skip("no EGL here")
    assert answer.returncode == 0, answer.stderr
    frames = pytest.importorskip("imageio.v3").imread(output)
    assert frames.shape == (50, 48, 64, 3), "Reacher's episodes have 50 steps"
    assert (frames[0] != frames[-1]).any(), "it moves"
