"""A newest checkpoint that cannot be used is refused by name and set aside, and the one before it is gone on from."""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import train_in_child

from experiments import tasks
from experiments.record.run_directory import RunDirectory
from experiments.record.verify import verify
from experiments.schema.errors import UserError
from experiments.training import checkpoint
from experiments.training.loop import Run
from experiments.training.task import Part

OLDER, NEWEST = "update-00000011", "update-00000017"


@pytest.fixture
def stopped(begin, request, tmp_path_factory) -> Path:
    """A run with checkpoints of updates 11 and 17, trained once."""
    made = getattr(request.module, "_made", None)
    if made is None:
        path = begin("stopped", "optim=adan", "stop_at=17updates")
        assert train_in_child(path) == 0
        made = request.module._made = Path(shutil.copytree(path, tmp_path_factory.mktemp("made") / path.name))
    return begin_copy(made, begin)


def begin_copy(made: Path, begin) -> Path:
    path = begin("copied", "optim=adan")
    shutil.rmtree(path)
    shutil.copytree(made, path)
    return begin("copied", "optim=adan")  # without stop_at


def resumed(path: Path) -> Run:
    """What a process holds when it is about to go on with the run."""
    directory = RunDirectory(path)
    config = directory.config()
    part = Part(0, 1, config.batch_per_device)
    run = Run([(config, directory)], tasks.build(config, part, [config.seed]), part)
    try:
        run.resume()
    finally:
        run.journal.close()
    return run


def newest(path: Path) -> Path:
    (found,) = (path / "checkpoints").glob(f"{NEWEST}-*.pt")
    return found


def put(path: Path, content: bytes) -> Path:
    """Replace the newest checkpoint by one of this content, with a digest that fits."""
    old = newest(path)
    old.unlink()
    new = old.with_name(f"{NEWEST}-{checkpoint._digest(content)}.pt")
    new.write_bytes(content)
    return new


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Path]:
    """The newest checkpoint with some of its values changed."""

    def damage(path: Path) -> Path:
        state = torch.load(newest(path), weights_only=True)
        return put(path, saved(change(state) or state))

    return damage


class Malicious:
    def __reduce__(self):
        return os.system, ("touch /tmp/files-was-here",)


def zip_of_something_else(path: Path) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    return put(path, buffer.getvalue())


def folder_in_its_place(path: Path) -> Path:
    old = newest(path)
    old.unlink()
    old.mkdir()
    (old / "kept").write_text("kept")
    return old


def link_to_nothing(path: Path) -> Path:
    old = newest(path)
    old.unlink()
    old.symlink_to("nowhere")
    return old


def flipped(path: Path) -> Path:
    content = bytearray(newest(path).read_bytes())
    content[len(content) // 2] ^= 1
    newest(path).write_bytes(content)
    return newest(path)


def wrong_shape_in_the_model(state: dict[str, Any]) -> None:
    name = next(iter(state["module"]))
    state["module"][name] = torch.zeros(3)


def wrong_shape_in_the_optimizer(state: dict[str, Any]) -> None:
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda state: state.pop(key) and None


DAMAGES = {
    "flipped": (flipped, "its digest does not match"),
    "empty": (lambda path: put(path, b""), "it cannot be loaded"),
    "malicious": (lambda path: put(path, saved({"update": Malicious()})), "more than tensors and plain values"),
    "zip": (zip_of_something_else, "it cannot be loaded"),
    "folder": (folder_in_its_place, "it cannot be read: Is a directory"),
    "link": (link_to_nothing, "it cannot be read: No such file"),
    "list": (lambda path: put(path, saved([1, 2])), "it holds list, no checkpoint"),
    "seed": (changed(lambda state: state.update(runs=[[state["runs"][0][0], 5]])), "it is of seed 5, not 0"),
    "configuration": (changed(lambda state: state.update(runs=[["f" * 64, 0]])), "it is of another configuration"),
    "optimizer": (changed(lambda state: state["optimizer_ran"].update(name="adamw")), "of optimizer adamw, not adan"),
    "groups": (changed(lambda state: state["optimizer"]["param_groups"].pop() and None), "groups of"),
    "model": (changed(lambda state: state["module"].popitem() and None), "its model is another"),
    "model shape": (changed(wrong_shape_in_the_model), "its model is another: .* has shape"),
    "optimizer shape": (changed(wrong_shape_in_the_optimizer), "its optimizer's exp_avg of parameter 0 has shape"),
    "ema": (changed(lambda state: state.update(ema=state["module"])), "it has averaged weights"),
    "update": (changed(lambda state: state.update(update=999)), "it is of update 999 of 33"),
    "random": (changed(lambda state: state.update(random={"python": 3})), "it cannot be loaded|it has no"),
    **{f"no {key}": (changed(without(key)), f"it has no '{key}'") for key in ("module", "scaler", "events", "update")},
}


@pytest.mark.parametrize("case", DAMAGES)
def test_it_is_refused_by_name_and_the_one_before_it_is_used(stopped, case, capfd):
    damage, reason = DAMAGES[case]
    expected = torch.load(next((stopped / "checkpoints").glob(f"{OLDER}-*.pt")), weights_only=True)
    refused = damage(stopped)
    run = resumed(stopped)
    assert run.update == 11
    for name, tensor in run.task.module.state_dict().items():
        assert torch.equal(tensor, expected["module"][name]), "nothing of the refused one is left"
    (player,) = run.players.values()
    moments = player.optimizer.state_dict()["state"]
    assert all(torch.equal(moments[0][key], value) for key, value in expected["optimizer"]["state"][0].items())
    assert not refused.exists() and os.path.lexists(refused.with_suffix(".refused"))
    timing = (stopped / "timing.jsonl").read_text()
    assert f'"file":"{refused.name}"' in timing and re.search(reason, timing)
    assert not Path("/tmp/files-was-here").exists()


def test_a_checkpoint_of_earlier_code_does_not_say_whose_it_is_and_is_used(stopped):
    changed(without("runs"))(stopped)
    assert resumed(stopped).update == 17


def test_where_every_one_is_refused_nothing_is_changed_and_the_run_does_not_begin_again(stopped):
    for path in (stopped / "checkpoints").iterdir():
        path.write_bytes(b"")
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != "lock"}
    with pytest.raises(UserError, match=r"no checkpoint of its 2 can be used \(update-00000017-.*its digest does not"):
        resumed(stopped)
    assert {path: path.read_bytes() for path in before} == before
    assert train_in_child(stopped) == 2


@pytest.mark.slow
def test_the_run_ends_as_if_nothing_had_happened_and_a_folder_is_no_obstacle(stopped, begin):
    folder_in_its_place(stopped)
    (stopped / "checkpoints" / "update-00000003-no-checkpoint.pt").mkdir()
    assert train_in_child(stopped) == 0 and verify(stopped) == []
    straight = begin("straight", "optim=adan")
    assert train_in_child(straight) == 0
    ends = [(path / "events.jsonl").read_text().splitlines()[-1] for path in (stopped, straight)]
    assert ends[0] == ends[1]
