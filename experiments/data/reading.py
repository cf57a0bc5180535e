"""Reading images into uint8 tensors, in this process or by worker processes: the same bytes in the same order."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from multiprocessing.connection import wait
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments.data.augmentation import EvaluationTransform
from experiments.data.images import ArrayImages, Images, naming
from experiments.data.streams import derive
from experiments.data.updates import UpdateSamples
from experiments.schema.errors import UserError

Pixels = tuple[Tensor, Tensor]  # uint8 [n, channels, height, width], labels int64 [n]
ImageTransform = Callable[[Image.Image, int], np.ndarray]  # one image and the seed of its chances
Reader = Callable[[np.ndarray], Pixels]  # answers a request


class TrainReader:
    """Augmented samples. A request is int64 [n, 3]: (epoch, index of the image, number of the copy)."""

    def __init__(self, images: Images, transform: ImageTransform, seed: int) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __call__(self, request: np.ndarray) -> Pixels:
        pixels = [self._read(key) for key in request.tolist()]
        return stack(pixels), torch.from_numpy(self.images.labels[request[:, 1]])

    def _read(self, key: list[int]) -> np.ndarray:
        _, index, _ = key
        with naming(self.images.describe(index)):
            return self.transform(self.images.image(index), derive(self.seed, "augmentation", *key))


class EvaluationReader:
    """Held-out samples. A request is int64 [n]: indices."""

    def __init__(self, images: Images, transform: EvaluationTransform) -> None:
        """Raises UserError when images in memory would have to be resized and `data.resize` is false."""
        self.images, self.transform = images, transform
        self.as_they_are = False
        if isinstance(images, ArrayImages):
            height, width = images.pixels.shape[1:3]
            self.as_they_are = height == width == transform.size
            if not (self.as_they_are or transform.resize):
                raise UserError(
                    f"data.image_size={transform.size}, but images are {height} x {width}: give data.resize=true"
                )

    def __call__(self, request: np.ndarray) -> Pixels:
        labels = torch.from_numpy(self.images.labels[request])
        if self.as_they_are:
            return stack(self.images.pixels[request]), labels  # type: ignore[attr-defined]
        return stack([self._read(index) for index in request.tolist()]), labels

    def _read(self, index: int) -> np.ndarray:
        with naming(self.images.describe(index)):
            return self.transform(self.images.image(index))


class Stream:
    """Pixels of one update after another, as `samples` ask for them.

    With `workers` processes, reading runs ahead of training, across updates and epochs, up to `last_update`. An
    update out of order (the first after a resume) starts the workers anew.
    """

    def __init__(
        self,
        reader: Reader,
        samples: UpdateSamples,
        last_update: int,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.reader, self.samples, self.last_update = reader, samples, last_update
        self.workers, self.pin_memory = workers, pin_memory
        self._ahead: Iterator[Pixels] | None = None
        self._next: int | None = None

    def update(self, update: int) -> Iterator[Pixels]:
        """Answers to `samples.requests(update)`, in order."""
        requests = self.samples.requests(update)
        if not self.workers:
            yield from map(self.reader, requests)
            return
        if self._ahead is None or self._next != update:
            rest = chain.from_iterable(map(self.samples.requests, range(update, self.last_update + 1)))
            self._ahead = read_ahead(self.reader, rest, self.workers, self.pin_memory)
        self._next = None  # until this update is read to its end
        for _ in requests:
            yield next(self._ahead)
        self._next = update + 1


def read_ahead(
    reader: Reader, requests: Iterable[np.ndarray], workers: int, pin_memory: bool = False
) -> Iterator[Pixels]:
    """Answers to `requests`, in order, by `workers` processes (0: in this one)."""
    if not workers:
        yield from map(reader, requests)
        return
    loader = DataLoader(
        _Requests(reader),
        sampler=requests,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4,
        pin_memory=pin_memory,
        worker_init_fn=_live_as_long_as_the_run,
    )
    answers: Any = iter(loader)
    _running.add(answers)
    try:
        for answer in answers:
            if isinstance(answer, UserError):
                raise answer
            yield answer
    finally:
        _end(answers)


class _Requests(Dataset):
    """The reader as torch's DataLoader wants it: a request is the index. A mistake of the user (a file that is no
    image) is an answer too: raised in a worker, it would reach the user wrapped in a stack trace."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __getitem__(self, request: np.ndarray) -> Pixels | UserError:
        try:
            return self.reader(request)
        except UserError as error:
            return error


_running: WeakSet = WeakSet()


def _end(answers: Any) -> None:
    """Let the workers go, and make those go that do not."""
    answers._shutdown_workers()
    for worker in answers._workers:
        if worker.is_alive():
            worker.kill()


@atexit.register
def _stop_workers() -> None:
    """At exit multiprocessing terminates what still runs and waits for it: workers do not listen to that."""
    for answers in list(_running):
        _end(answers)


def _live_as_long_as_the_run(_worker: int) -> None:
    """A SIGTERM, SIGHUP or Ctrl-C that reaches all processes of a run must not take the workers from under its last
    updates, evaluation and checkpoint. When the run is gone, even by SIGKILL, they go, too.

    torch's own watchdog looks at the parent's id, and a worker that a fork server started (the default from Python
    3.14 on) has the server for a parent.
    """
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    run = multiprocessing.parent_process()
    if run is not None:
        threading.Thread(target=_leave_after, args=(run.sentinel,), daemon=True).start()


def _leave_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def stack(pixels: list[np.ndarray] | np.ndarray) -> Tensor:
    """uint8 [n, channels, height, width] of images [height, width] or [height, width, 3]."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(pixels) if isinstance(pixels, list) else pixels))
    return stacked.unsqueeze(1) if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2).contiguous()
