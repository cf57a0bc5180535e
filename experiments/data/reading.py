"""Reading images into uint8 tensors, in this process or by worker processes: the same bytes in the same order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments.data.augmentation import EvaluationTransform, TrainTransform
from experiments.data.images import ArrayImages, Images
from experiments.data.streams import derive

Pixels = tuple[Tensor, Tensor]  # uint8 [n, channels, height, width], labels int64 [n]


class TrainReader:
    """Augmented samples. A request is int64 [n, 3]: (epoch, index of the image, number of the copy)."""

    def __init__(self, images: Images, transform: TrainTransform, seed: int) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __call__(self, request: np.ndarray) -> Pixels:
        pixels = [
            self.transform(self.images.image(key[1]), derive(self.seed, "augmentation", *key))
            for key in request.tolist()
        ]
        return _stack(pixels), torch.from_numpy(self.images.labels[request[:, 1]])


class EvaluationReader:
    """Held-out samples. A request is int64 [n]: indices."""

    def __init__(self, images: Images, transform: EvaluationTransform) -> None:
        self.images, self.transform = images, transform
        size = (transform.size, transform.size)
        self.as_they_are = isinstance(images, ArrayImages) and images.pixels.shape[1:3] == size

    def __call__(self, request: np.ndarray) -> Pixels:
        if self.as_they_are:
            pixels = self.images.pixels[request]  # type: ignore[attr-defined]
        else:
            pixels = [self.transform(self.images.image(index)) for index in request.tolist()]
        return _stack(pixels), torch.from_numpy(self.images.labels[request])


class Stream:
    """Answers to the requests of one update after another.

    With `workers` processes, reading runs ahead of training, across updates and epochs. `requests(update)` must
    be a pure function; an update out of order (the first after a resume) starts the workers anew.
    """

    def __init__(
        self,
        reader: TrainReader,
        requests: Callable[[int], list[np.ndarray]],
        last_update: int,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.reader, self.requests, self.last_update = reader, requests, last_update
        self.workers, self.pin_memory = workers, pin_memory
        self._ahead: Iterator[Pixels] | None = None
        self._next: int | None = None

    def update(self, update: int) -> Iterator[Pixels]:
        """Answers to `requests(update)`, in order."""
        requests = self.requests(update)
        if not self.workers:
            yield from map(self.reader, requests)
            return
        if self._ahead is None or self._next != update:
            rest = chain.from_iterable(map(self.requests, range(update, self.last_update + 1)))
            self._ahead = read_ahead(self.reader, rest, self.workers, self.pin_memory)
        self._next = None  # until this update is read to its end
        for _ in requests:
            yield next(self._ahead)
        self._next = update + 1


def read_ahead(
    reader: Callable[[np.ndarray], Pixels], requests: Iterable[np.ndarray], workers: int, pin_memory: bool = False
) -> Iterator[Pixels]:
    """Answers to `requests`, in order, by `workers` processes (0: in this one)."""
    if not workers:
        return map(reader, requests)
    loader = DataLoader(
        _Requests(reader),
        sampler=requests,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_parent,
    )
    return iter(loader)


class _Requests(Dataset):
    """The reader as torch's DataLoader wants it: a request is the index."""

    def __init__(self, reader: Callable[[np.ndarray], Pixels]) -> None:
        self.reader = reader

    def __getitem__(self, request: np.ndarray) -> Pixels:
        return self.reader(request)


def _leave_signals_to_parent(_worker: int) -> None:
    """A SIGTERM or Ctrl-C sent to all processes of a run must not kill the workers under the last update."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stack(pixels: list[np.ndarray] | np.ndarray) -> Tensor:
    """uint8 [n, channels, height, width] of images [height, width] or [height, width, 3]."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(pixels) if isinstance(pixels, list) else pixels))
    return stacked.unsqueeze(1) if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2).contiguous()
