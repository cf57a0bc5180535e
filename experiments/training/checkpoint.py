"""Checkpoints: complete or not there, checked by digest, the newest few kept, one that is of no use passed over.

`update-00000120-<digest>.pt` is a `torch.save` of tensors and plain values, read with `weights_only=True`; its
name carries the first 32 hex digits of its SHA-256. It appears by one rename, so a kill at any byte of a save,
or a bit that flips later, leaves the run with the checkpoint before.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
from collections.abc import Callable, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from experiments.record.atomic import sync_folder, write_atomically
from experiments.schema.errors import UserError


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
    others = [other for other in _newest_first(folder) if other != path and other.is_file()]
    for old in others[max(keep, 2) - 1 :]:
        old.unlink()
    return path


class Unusable(Exception):
    """A checkpoint cannot be gone on from; the message says why."""


class Refused(NamedTuple):
    """A checkpoint that was passed over, and why."""

    path: Path
    reason: str


def load_newest(
    folder: Path, use: Callable[[dict[str, Any]], None] = lambda state: None
) -> tuple[dict[str, Any] | None, list[Refused]]:
    """The newest checkpoint that is whole and that `use` takes (None when there is none), and those that were refused.

    `use` gets what a checkpoint holds and raises anything for one that it cannot take; the one before is tried then,
    so what `use` changes every later call of it must set anew.
    """
    refused: list[Refused] = []
    for path in _newest_first(folder):
        try:
            state = _read(path)
            use(state)
            return state, refused
        except (MemoryError, torch.OutOfMemoryError):  # no fault of the checkpoint
            raise
        except Exception as error:
            refused.append(Refused(path, _in_a_line(error)))
    return None, refused


def set_aside(path: Path) -> Path:
    """Rename what was refused, so that it is neither read again nor counted among those that are kept."""
    endings = chain([".refused"], (f".refused-{number}" for number in count(2)))
    free = next(name for ending in endings if not os.path.lexists(name := path.with_suffix(ending)))
    return path.rename(free)


def _read(path: Path) -> dict[str, Any]:
    """Read what a checkpoint holds. Raises Unusable, or OSError."""
    content = path.read_bytes()
    if not path.stem.endswith(_digest(content)):
        raise Unusable("its digest does not match")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Unusable("it holds more than tensors and plain values, which is never loaded") from error
    if not isinstance(state, dict):
        raise Unusable(f"it holds {type(state).__name__}, no checkpoint")
    return state


def _in_a_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror}"
    said = next(iter(str(error).splitlines()), "")
    if isinstance(error, KeyError):
        return f"it has no {said}"
    return said if isinstance(error, (Unusable, UserError)) else f"it cannot be loaded: {type(error).__name__}: {said}"


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("update-*.pt"), key=lambda path: (path.name[:15], path.lstat().st_mtime_ns), reverse=True)


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
