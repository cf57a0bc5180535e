"""Checkpoints: complete or not there, checked by digest, the newest few kept.

`update-00000120-<digest>.pt` is a `torch.save` of tensors and plain values, read with `weights_only=True`; its
name carries the first 32 hex digits of its SHA-256. It appears by one rename, so a kill at any byte of a save,
or a bit that flips later, leaves the run with the checkpoint before.
"""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.record.atomic import sync_folder, write_atomically


def save(folder: Path, update: int, state: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of `update` and drop all but the newest `keep` (at least two)."""
    if not folder.exists():
        folder.mkdir()
        sync_folder(folder.parent)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    path = folder / f"update-{update:08d}-{_digest(content)}.pt"
    write_atomically(path, content)
    for old in [other for other in _newest_first(folder) if other != path][max(keep, 2) - 1 :]:
        old.unlink()
    return path


def load_newest(folder: Path) -> tuple[dict[str, Any] | None, list[Path]]:
    """The newest checkpoint whose digest matches (None when there is none), and those that were refused."""
    refused: list[Path] = []
    for path in _newest_first(folder):
        content = path.read_bytes()
        if path.stem.endswith(_digest(content)):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), refused
        refused.append(path)
    return None, refused


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that it is neither read again nor counted among those that are kept."""
    path.rename(path.with_suffix(".damaged"))


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("update-*.pt"), key=lambda path: (path.name[:15], path.stat().st_mtime_ns), reverse=True)


def random_streams() -> dict[str, Any]:
    """State of the global generators. Training draws from streams derived from (seed, purpose, update), so this
    only matters to code that draws outside them."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [torch.tensor(np.asarray(keys)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
    }


def restore_random_streams(state: dict[str, Any]) -> None:
    """Inverse of `random_streams`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy(), *rest))
    torch.set_rng_state(state["torch"])


def parameters_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, formats and bytes of all parameters and buffers, in state-dict order."""
    return state_digest(module.state_dict())


def state_digest(state: Mapping[str, Tensor]) -> str:
    """The same of a module's state dict."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
