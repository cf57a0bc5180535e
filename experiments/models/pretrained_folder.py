"""Folders that `save_pretrained` of transformers wrote: the architecture in them, and what they are by SHA-256."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from experiments.schema.errors import UserError

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# What a checkpoint's config.json holds beside the architecture.
NOT_ARCHITECTURE = {
    *("architectures", "transformers_version", "dtype", "torch_dtype", "id2label", "label2id", "num_labels"),
    *("problem_type", "use_cache", "_name_or_path", "finetuning_task"),
}


def read_checkpoint(folder: Path, place: str) -> tuple[dict[str, Any], str]:
    """The arguments of the model whose weights are in `folder`, and the digest of the weights' files.

    Raises UserError, naming `init=<place>`, where there is no such model.
    """
    if not folder.is_dir():
        raise UserError(f"init={place} (command line): no such folder; give one that save_pretrained wrote")
    files = sorted(file for pattern in WEIGHTS for file in folder.glob(pattern))
    described = folder / "config.json"
    if not files or not described.is_file():
        absent = "weights (model.safetensors or pytorch_model.bin)" if described.is_file() else "config.json"
        raise UserError(f"init={place} (command line): the folder has no {absent}")
    try:
        arguments = json.loads(described.read_bytes())
    except ValueError as error:
        raise UserError(f"init={place} (command line): config.json cannot be read: {error}") from error
    if "model_type" not in arguments:
        raise UserError(f"init={place} (command line): config.json names no model_type")
    kept = {key: value for key, value in arguments.items() if key not in NOT_ARCHITECTURE and value is not None}
    return kept, _digest(files)


def read_tokenizer(place: str) -> tuple[str, str]:
    """The place, absolute where it is a folder, and the digest of its files; of a hub repository that of its name.

    Raises UserError for a folder without a tokenizer.
    """
    folder = Path(place).expanduser().resolve()
    if not folder.is_dir():
        return place, sha256(place.encode()).hexdigest()
    files = [file for file in sorted(folder.iterdir()) if file.suffix in (".json", ".txt", ".model") and file.is_file()]
    if not files:
        raise UserError(f"text.tokenizer={place}: the folder has no tokenizer")
    return str(folder), _digest(files)


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 of names and contents."""
    digest = sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as content:
            while block := content.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()
