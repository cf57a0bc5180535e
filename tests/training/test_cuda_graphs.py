"""Updates captured in CUDA graphs beside the same updates performed one operation at a time, on a GPU."""

from __future__ import annotations

import pytest
import torch
from in_process import lstm, small

from experiments import tasks
from experiments.record.run_directory import RunDirectory
from experiments.schema.batches import micro_batch
from experiments.schema.compose import compose
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part

pytestmark = pytest.mark.gpu
UPDATES = 24
LONGER = "schedule.epochs=9"


def parameters_after(tmp_path, config, name: str) -> dict[str, torch.Tensor]:
    part = Part(micro_batch=micro_batch(config, 1), device=torch.device("cuda", 0))
    directory = RunDirectory.open_or_create(tmp_path / name, config)
    with directory.hold(), Interruption() as interruption:
        run = Run([(config, directory)], tasks.build(config, part), part)
        run.resume()
        assert run.captured == (config.capture is True)
        run.perform(interruption, until=UPDATES)
        run.journal.close()
    return {name: value.double() for name, value in run.task.module.state_dict().items()}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return sum((one[name] - other[name]).square().sum().item() for name in one) ** 0.5


@pytest.mark.parametrize(
    "make, overrides",
    [
        (small, ["optim=adan", LONGER, "model.drop_path=0.2", "optim.max_grad_norm=1.0"]),
        (small, ["optim=adan", LONGER, "precision=fp16"]),
        (small, ["optim=adamw", LONGER, "precision=bf16", "clip_grad_norm=0.5", "ema_decay=0.9"]),
        (small, ["exp=resnet18", "optim=adamw", LONGER, "launch.micro_batch=16"]),
        (lstm, ["optim=adan"]),
        (lstm, ["optim=adam"]),
        (lambda *given: compose(["exp=cifar10_vgg11", "launch.threads=1", *given])[0], ["optim=adamw"]),
    ],
    ids=["vit", "fp16", "bf16", "micro-batches", "lstm adan", "lstm adam", "images on the device"],
)
def test_captured_updates_are_the_updates(tmp_path, monkeypatch, make, overrides):
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))
    ends = [
        parameters_after(tmp_path, make(*overrides, f"capture={captured}"), f"{captured}-{turn}")
        for turn, captured in enumerate(("false", "false", "true"))
    ]
    size = sum(value.square().sum().item() for value in ends[0].values()) ** 0.5
    # Some kernels add in another order each time: captured and eager differ by no more than two eager runs do.
    assert distance(ends[2], ends[0]) <= 3 * distance(ends[1], ends[0]) + 1e-6 * size
