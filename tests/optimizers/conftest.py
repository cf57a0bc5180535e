from __future__ import annotations

import importlib

import pytest

from experiments.optimizers import fused


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let builders and torch take for a GPU what is a CPU, which has the same operations."""
    monkeypatch.setattr(fused, "all_on", lambda device_type, groups: device_type == "cuda")
    of_torch = [f"torch.optim.{name}" for name in ("adadelta", "adam", "nadam", "radam", "rmsprop")]
    for module in map(importlib.import_module, (*of_torch, "timm.optim._helpers")):
        monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda supports_xla=True: ["cpu"])
