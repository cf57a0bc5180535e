import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torch.utils._pytree import tree_leaves

from experiments import data, tasks
from experiments.data.device_batches import Keys
from experiments.data.device_images import AugmentedDeviceImages
from experiments.schema.config import (
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    LossConfig,
    ModelConfig,
    RunConfig,
    ScheduleConfig,
)
from experiments.schema.errors import UserError
from experiments.schema.task_info import info
from experiments.tasks.image_classification import Batch, ImageClassification
from experiments.training.task import Part

MNIST = DataConfig("mnist", 10, 1, 4000, 1000, 28, [0.13], [0.31], resize=False)
VIT = ModelConfig("deit_tiny_patch16_224", {"patch_size": 7, "embed_dim": 16, "depth": 1, "num_heads": 2})
STRONG = AugmentationConfig(
    auto_augment="rand-m7-mstd0.5-inc1", mixup=0.2, cutmix=1.0, random_erasing=0.25, horizontal_flip=0.0
)
BATCHED = AugmentationConfig(
    pipeline="batched", scale=[1.0, 1.0], ratio=[1.0, 1.0], padding=3, padding_mode="reflect", cutout=6
)
LAST = 4000 // 48  # updates of an epoch; 48 does not divide 4,000


def run_config(**values) -> RunConfig:
    defaults = {
        "task": "image_classification",
        "global_batch_size": 48,
        "batch_per_device": 24,
        "data": MNIST,
        "model": VIT,
        "augmentation": STRONG,
        "loss": LossConfig("bce", 0.1),
        "schedule": ScheduleConfig(epochs=2),
        "evaluation": EvaluationConfig(batch_size=300),
    }
    return RunConfig(**{**defaults, **values})


def build(config: RunConfig, micro_batch: int = 24, rank: int = 0, world_size: int = 1):
    return tasks.build(config, Part(rank=rank, world_size=world_size, micro_batch=micro_batch))


def samples(config: RunConfig, update: int, micro_batch: int, world_size: int = 1) -> list[tuple[bytes, bytes]]:
    """Every sample of an update, as (image, target), sorted: order and split do not matter."""
    found = []
    for rank in range(world_size):
        for batch in made(build(config, micro_batch, rank, world_size), update):
            found += [
                (i.numpy().tobytes(), t.numpy().tobytes()) for i, t in zip(batch.images, batch.targets, strict=True)
            ]
    return sorted(found)


def made(task: ImageClassification, update: int) -> list[Batch]:
    """The micro-batches of an update, also of images that lie on the device."""
    return [task.made(one) if isinstance(one, Keys) else one for one in task.micro_batches(update)]


@pytest.fixture(scope="module")
def task():
    return build(run_config())


@pytest.mark.parametrize(("micro_batch", "world_size"), [(48, 1), (12, 2), (12, 4), (6, 1), (2, 1), (10, 1)])
def test_an_update_holds_the_same_mixed_samples_for_every_split(task, micro_batch, world_size):
    whole = samples(run_config(), 5, 24)
    assert len(whole) == task.count(5) == 48
    assert samples(run_config(), 5, micro_batch, world_size) == whole


def test_a_micro_batch_of_one_is_possible_without_mixup():
    config = run_config(augmentation=replace(STRONG, mixup=0.0, cutmix=0.0))
    assert samples(config, 3, 1) == samples(config, 3, 16, 3)


@pytest.mark.parametrize(("micro_batch", "world_size"), [(12, 2), (10, 1), (7, 1), (1, 3)])
def test_a_batched_update_holds_the_same_samples_for_every_split_and_after_a_jump(micro_batch, world_size):
    config = run_config(augmentation=replace(BATCHED, mixup=0.2, cutmix=1.0))
    update = LAST + 2
    whole = samples(config, update, 24)
    assert samples(config, update, micro_batch, world_size) == whole
    assert samples(replace(config, seed=1), update, 24) != whole
    task = build(config, 24)
    list(task.micro_batches(1))
    images = sorted(i.numpy().tobytes() for batch in made(task, update) for i in batch.images)
    assert images == [image for image, _ in whole]


def test_the_batched_pipeline_evaluates_to_the_bit_as_the_other(task):
    batched = build(run_config(augmentation=BATCHED))
    assert batched.evaluate(task.module) == task.evaluate(task.module)


@pytest.mark.parametrize("copies", [0, 2])
@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_a_plan_counts_the_bytes_of_images_that_a_run_holds_on_the_device(copies, fraction):
    config = run_config(
        augmentation=BATCHED,
        data=replace(MNIST, validation_fraction=fraction),
        evaluation=EvaluationConfig(batch_size=300, augmented_copies=copies),
    )
    task = build(config)
    held = [task.device_batches.images.padded, task.device_held_out.images.pixels]
    if copies:
        held.append(task.device_held_out.augmented.padded)
    assert info("image_classification").memory(config) == {"images": sum(one.nbytes for one in held)}
    assert info("image_classification").memory(run_config()) == {}


def test_evaluations_of_images_on_the_device_are_made_from_numbers_sent_there_once():
    """What arrives at each batch is the same memory at every evaluation; the rest is made from it."""
    task, arrived = build(run_config(augmentation=BATCHED, evaluation=EvaluationConfig(batch_size=300))), []

    def perform(name, function, *arguments, changes):
        arrived.append([leaf.data_ptr() for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor)])
        return function(*arguments)

    task.perform = perform
    first, second = task.evaluate(task.module), task.evaluate(task.module)
    assert first == second
    assert len(arrived) == 8 and all(len(one) == 1 for one in arrived)
    assert arrived[:4] == arrived[4:]


def test_augmented_copies_are_averaged_as_probabilities_beside_the_plain_image():
    evaluation = EvaluationConfig(batch_size=300, augmented_copies=2)
    batched = build(run_config(augmentation=BATCHED, evaluation=evaluation))
    plain = build(run_config(augmentation=BATCHED))
    module = batched.module.eval()
    found = batched.evaluate(module)
    augmented_top1 = found.pop("augmented_top1")
    assert found == plain.evaluate(module)
    held_out = AugmentedDeviceImages(
        batched.data.test, BATCHED, MNIST, 0, torch.device("cpu"), purpose="augmented copies"
    )
    pixels, labels = torch.tensor(batched.data.test.pixels)[:, None], torch.tensor(batched.data.test.labels)
    views = [pixels, *(held_out.samples(torch.tensor([[0, i, copy] for i in range(1000)]))[0] for copy in (0, 1))]
    assert not any(torch.equal(views[i], views[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    with torch.no_grad():
        mean = sum(module((view / 255 - 0.13) / 0.31).softmax(dim=1) for view in views) / 3
    assert augmented_top1 == pytest.approx(100 * (mean.argmax(dim=1) == labels).double().mean().item(), abs=0.11)


def test_batches_are_a_function_of_seed_and_update_alone(task):
    config = run_config()
    first = samples(config, LAST + 2, 24)
    for update in (1, 2, LAST, LAST + 1):
        list(task.micro_batches(update))
    images = sorted(i.numpy().tobytes() for batch in task.micro_batches(LAST + 2) for i in batch.images)
    assert images == [image for image, _ in first]
    assert samples(run_config(seed=1), LAST + 2, 24) != first
    assert samples(config, 2, 24) != first


def test_an_epoch_shows_every_image_at_most_once_and_augments_it_anew_in_the_next():
    plain = AugmentationConfig(scale=[1.0, 1.0], ratio=[1.0, 1.0], horizontal_flip=0.0)
    task = build(run_config(augmentation=plain))
    seen = [i.numpy().tobytes() for u in range(1, LAST + 1) for batch in task.micro_batches(u) for i in batch.images]
    assert len(seen) == len(set(seen)) == LAST * 48
    strong = build(run_config(augmentation=AugmentationConfig(scale=[0.6, 0.9], horizontal_flip=0.0)))
    in_epoch = [
        {i.numpy().tobytes() for u in updates for batch in strong.micro_batches(u) for i in batch.images}
        for updates in (range(1, 4), range(LAST + 1, LAST + 4))
    ]
    assert not in_epoch[0] & in_epoch[1]


def test_worker_processes_read_the_same_batches_also_after_a_jump():
    config = run_config(augmentation=replace(STRONG, repeats=3))
    updates = [1, 2, 3, 80, 83, 84, 85]
    alone = build(config, 12)
    helped = build(run_config(augmentation=replace(STRONG, repeats=3), data=replace(MNIST, workers=2)), 12)
    for update in updates:
        pairs = list(zip(alone.micro_batches(update), helped.micro_batches(update), strict=True))
        assert len(pairs) == 4
        for left, right in pairs:
            assert torch.equal(left.images, right.images) and torch.equal(left.targets, right.targets)
    assert helped.evaluate(alone.module) == alone.evaluate(alone.module)


def test_a_smaller_last_batch_is_kept_when_asked_for():
    config = run_config(drop_last=False)
    task = build(config)
    assert task.updates_per_epoch == LAST + 1
    assert task.count(LAST + 1) == task.count(2 * LAST + 2) == 4000 - 48 * LAST == 16
    assert len(samples(config, LAST + 1, 24)) == 16
    assert samples(config, LAST + 1, 24) == samples(config, LAST + 1, 24, 2)


def test_losses_of_any_split_add_up_to_the_same_sum():
    config = run_config(model=replace(VIT, arguments={**VIT.arguments, "embed_dim": 32}))
    sums = []
    for micro_batch, world_size in ((48, 1), (6, 2)):
        total = 0.0
        for rank in range(world_size):
            task = build(config, micro_batch, rank, world_size)
            task.module.double()
            for batch in task.micro_batches(1):
                assert batch.images.dtype == batch.targets.dtype == torch.float64
                total += task.loss(task.module, batch).sum.item()
        sums.append(total)
    assert sums[0] == pytest.approx(sums[1], rel=1e-12)


def test_initial_parameters_follow_from_the_seed():
    first, second, other = (build(run_config(seed=seed)).module.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_channels_last_reaches_the_images():
    config = run_config(
        model=replace(VIT, channels_last=True), data=replace(MNIST, channels=3, mean=[0.1] * 3, std=[0.3] * 3)
    )
    batch = next(build(config).micro_batches(1))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_counts_every_image_once(task):
    metrics = task.evaluate(task.module.train())
    assert task.module.training
    test = data.load(MNIST).test
    images = (torch.tensor(test.pixels)[:, None] / 255 - 0.13) / 0.31
    task.module.eval()
    with torch.no_grad():
        logits = task.module(images).double()
    labels = torch.from_numpy(test.labels)
    ranks = (logits > logits.gather(1, labels[:, None])).sum(dim=1)
    assert metrics["top1"] == pytest.approx(100 * (ranks == 0).double().mean().item())
    assert metrics["top5"] == pytest.approx(100 * (ranks < 5).double().mean().item())
    assert metrics["eval_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)


def evaluate_as_rank(rank: int, world_size: int, store: str, answers) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    # 1,000 images over 3 ranks, 111 a batch: rank 0 has one batch more than the others.
    task = build(run_config(evaluation=EvaluationConfig(batch_size=111)), 16, rank, world_size)
    forwards = []
    task.module.register_forward_hook(lambda *_: forwards.append(1))
    answers.put((task.evaluate(task.module), len(forwards)))
    dist.destroy_process_group()


def test_ranks_share_the_evaluation_and_agree(task, tmp_path):
    context = multiprocessing.get_context("forkserver")  # a fork of OpenMP threads would hang
    context.set_forkserver_preload(["experiments.tasks.image_classification"])
    answers = context.Queue()
    arguments = (3, str(tmp_path / "store"), answers)
    ranks = [context.Process(target=evaluate_as_rank, args=(rank, *arguments)) for rank in range(3)]
    for process in ranks:
        process.start()
    found = [answers.get(timeout=120) for _ in ranks]
    for process in ranks:
        process.join()
    alone = task.evaluate(task.module)
    for metrics, forwards in found:
        assert forwards == 4
        assert metrics == found[0][0]
        assert metrics == pytest.approx(alone, rel=1e-5)


def write_photographs(root: Path) -> None:
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        for place in range(10):
            folder = root / ("train" if place < 8 else "val") / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph[30 * place : 30 * place + 120, :160]).save(folder / f"{place}.jpg", quality=95)


def test_a_resnet_learns_photographs_from_a_folder(tmp_path):
    write_photographs(tmp_path)
    config = run_config(
        global_batch_size=8,
        batch_per_device=8,
        data=DataConfig("imagenet", 2, 3, 16, 4, 32, root=str(tmp_path)),
        model=ModelConfig("resnet18", {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64], "small_input": True}),
        augmentation=AugmentationConfig(color_jitter=0.4, scale=[0.5, 1.0]),
        loss=LossConfig("cross_entropy"),
        schedule=ScheduleConfig(epochs=15),
    )
    task = build(config, 8)
    optimizer = torch.optim.AdamW(task.module.parameters(), lr=3e-3)
    before = task.evaluate(task.module)["eval_loss"]
    for update in range(1, 31):
        for batch in task.micro_batches(update):
            optimizer.zero_grad()
            (task.loss(task.module, batch).sum / task.count(update)).backward()
            optimizer.step()
    after = task.evaluate(task.module)
    assert after["eval_loss"] < before / 2
    assert after["top1"] >= 75
    assert after["top5"] == 100  # there are two classes


@pytest.mark.parametrize(
    ("change", "micro_batch", "message"),
    [
        ({"task": "image_clasification"}, 24, "did you mean 'image_classification'"),
        ({"loss": LossConfig("bec")}, 24, "did you mean 'bce'"),
        ({}, 3, r"launch\.micro_batch=3 must be even"),
        ({"global_batch_size": 4002}, 24, "4000 training images are less than one batch of 4002"),
        ({"batch_per_device": 3}, 24, "batch_per_device must be even"),
        ({"data": replace(MNIST, name="imagenet")}, 24, "needs a place to read from"),
    ],
)
def test_what_cannot_be_run_is_refused(change, micro_batch, message):
    with pytest.raises(UserError, match=message):
        build(run_config(**change), micro_batch)


def test_the_loss_is_computed_in_single_precision_from_half_precision_logits(task):
    batch = next(task.micro_batches(1))

    class Half(nn.Module):
        def forward(self, images):
            return torch.linspace(-3, 3, 10, dtype=torch.float16).repeat(len(images), 1)

    loss = task.loss(Half(), batch).sum
    assert loss.dtype == torch.float32
    logits = np.linspace(-3, 3, 10).astype(np.float16).astype(np.float64)
    expected = (np.log1p(np.exp(logits)) - batch.targets.double().numpy() * logits).mean(axis=1).sum()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
