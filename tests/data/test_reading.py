import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import data
from experiments.data.augmentation import EvaluationTransform, TrainTransform
from experiments.data.images import ArrayImages, FileImages
from experiments.data.reading import EvaluationReader, Stream, TrainReader
from experiments.data.updates import UpdateSamples
from experiments.schema import paths
from experiments.schema.config import AugmentationConfig, DataConfig, EvaluationConfig
from experiments.schema.errors import UserError

MNIST = DataConfig("mnist", 10, 1, 4000, 1000, 28, [0.13], [0.31], resize=False)


@pytest.fixture
def samples():
    return UpdateSamples(
        seed=0,
        size=4000,
        samples=4000,
        repeats=0,
        updates_per_epoch=125,
        batch_size=32,
        batch_per_device=32,
        micro_batch=8,
        rank=0,
        world_size=1,
        paired=True,
    )


@pytest.fixture(scope="module")
def reader():
    return TrainReader(data.load(MNIST).train, TrainTransform(AugmentationConfig(), MNIST), seed=0)


def test_workers_survive_a_termination_of_all_processes_and_go_with_their_stream(reader, samples):
    stream = Stream(reader, samples, last_update=250, workers=2)
    alone = Stream(reader, samples, last_update=250)
    list(stream.update(1))
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
    for update in range(2, 12):  # more than was read ahead
        for (pixels, labels), expected in zip(stream.update(update), alone.update(update), strict=True):
            assert torch.equal(pixels, expected[0]) and torch.equal(labels, expected[1])
    gc.disable()  # they must not wait for the garbage collector
    try:
        del stream
        assert not set(multiprocessing.active_children()) & set(workers)
    finally:
        gc.enable()


KILLED = """
import multiprocessing, os, signal, sys
import numpy as np
from experiments import data
from experiments.data.augmentation import TrainTransform
from experiments.data.reading import TrainReader, read_ahead
from experiments.schema.config import AugmentationConfig, DataConfig

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    mnist = DataConfig("mnist", 10, 1, 4000, 1000, 28, [0.13], [0.31], resize=False)
    reader = TrainReader(data.load(mnist).train, TrainTransform(AugmentationConfig(), mnist), seed=0)
    requests = [np.array([[0, index, 0]]) for index in range(1000)]
    answers = read_ahead(reader, requests, workers=2)
    next(answers)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("start", [pytest.param("fork", marks=pytest.mark.slow), "forkserver"])
def test_workers_of_a_run_that_was_killed_go(start, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    run = subprocess.run([sys.executable, script, start], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == -signal.SIGKILL, run.stderr
    workers = list(map(int, run.stdout.split()))
    assert len(workers) == 2
    end = time.monotonic() + 60
    while any(map(is_alive, workers)):
        assert time.monotonic() < end, "a worker lives on"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_reading_ends_with_the_run(reader, samples):
    stream = Stream(reader, samples, last_update=3, workers=1)
    for update in (2, 3):
        assert len(list(stream.update(update))) == 4


def test_a_mistake_in_a_worker_reaches_the_user(samples, tmp_path):
    absent = FileImages(tmp_path, np.array([b"absent.png"] * 4000), np.zeros(4000, dtype=np.int64))
    reader = TrainReader(absent, TrainTransform(AugmentationConfig(), DataConfig(image_size=32)), seed=0)
    stream = Stream(reader, samples, last_update=1, workers=1)
    with pytest.raises(UserError, match=r"^cannot read the image .*absent\.png") as mistake:
        list(stream.update(1))
    assert "\n" not in str(mistake.value)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("resize", [True, False])
def test_images_in_memory_that_have_their_size_are_evaluated_as_they_are(resize):
    config = DataConfig(image_size=28, channels=1, mean=[0.1], std=[0.3], resize=resize)
    images = ArrayImages(np.arange(5 * 28 * 28).astype(np.uint8).reshape(5, 28, 28), np.arange(5))
    reader = EvaluationReader(images, EvaluationTransform(EvaluationConfig(crop_pct=0.5), config))
    pixels, labels = reader(np.array([3, 1]))
    assert labels.tolist() == [3, 1]
    np.testing.assert_array_equal(pixels.numpy()[:, 0], images.pixels[[3, 1]])


def test_larger_images_in_memory_are_resized_and_cropped():
    images = ArrayImages(np.full((2, 40, 40, 3), 77, dtype=np.uint8), np.arange(2))
    reader = EvaluationReader(images, EvaluationTransform(EvaluationConfig(), DataConfig(image_size=28)))
    pixels, _ = reader(np.array([0, 1]))
    assert pixels.shape == (2, 3, 28, 28) and (pixels == 77).all()
    with pytest.raises(UserError, match=r"data\.image_size=28, but images are 40 x 40: give data\.resize=true"):
        EvaluationReader(images, EvaluationTransform(EvaluationConfig(), DataConfig(image_size=28, resize=False)))
