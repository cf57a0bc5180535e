"""Tell a sealed record of the process that trained a run: data, optimizer, split of the batch, threads, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from experiments.record.same_data import with_what_was_loaded
from experiments.record.seal import seal
from experiments.training import memory
from experiments.training.batched_seeds import Member, together
from experiments.training.players import Player, described
from experiments.training.task import Part, Task


class Sealer:
    """Seals the runs of a process, on rank 0."""

    def __init__(self, members: Sequence[Member], task: Task, players: Mapping[str, Player], part: Part) -> None:
        """The data are described as they are now; beside training, for a large folder takes minutes."""
        self._members, self._task, self._players, self._part = members, task, players, part
        self._manifest = ThreadPoolExecutor(1).submit(task.manifest)

    def __call__(self, member: Member, status: str, progress: dict[str, int], digest: str | None) -> Path:
        """Seal the run of `member` as `experiments.record.seal.seal` does; `digest` is that of its parameters."""
        return seal(
            member[1],
            status=status,
            progress=progress,
            parameters_digest=digest,
            data=with_what_was_loaded(member[1].identity() or {}, self._manifest.result()),
            optimizer=described(member[0], self._players),
            threads=torch.get_num_threads(),
            split={
                "ranks": self._part.world_size,
                "micro_batch": self._part.micro_batch,
                "batch_norm": any(isinstance(module, _BatchNorm) for module in self._task.module.modules()),
                **together(self._members),
            },
            peak_memory_bytes=memory.peak_bytes(),
            accelerator=memory.accelerator(self._part.device, self._part.world_size),
        )
