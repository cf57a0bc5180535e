"""Batched augmentation against a reference that takes one image and one draw at a time, in Python's integers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_by_image import cropped, cut_out
from PIL import Image

from experiments.data.batch_augmentation import Normalise
from experiments.data.counter_hash import below, happens, words
from experiments.data.device_batches import DeviceBatches, Keys
from experiments.data.device_images import AugmentedDeviceImages, DeviceImages
from experiments.data.images import ArrayImages, FileImages
from experiments.data.mixing import Mixing, Mixture
from experiments.data.streams import derive
from experiments.schema.config import AugmentationConfig, DataConfig
from experiments.schema.errors import DataError, UserError

CPU = torch.device("cpu")


def augmented(pixels: np.ndarray, key: list[int], seed: int, augmentation: AugmentationConfig) -> np.ndarray:
    """One image: float32 [channels, side, side], black 0 and white 1."""
    image = cropped(pixels, key, seed, augmentation).astype(np.float32) / np.float32(255)
    cut_out(image, key, seed, augmentation.cutout)
    return image


def data_config(side: int, channels: int) -> DataConfig:
    return DataConfig(
        num_classes=10, channels=channels, image_size=side, mean=[0.0] * channels, std=[1.0] * channels, resize=False
    )


def images_of(count: int, side: int, channels: int) -> ArrayImages:
    shape = (count, side, side, 3) if channels == 3 else (count, side, side)
    generator = np.random.default_rng(0)
    return ArrayImages(generator.integers(0, 256, shape, dtype=np.uint8), generator.integers(0, 10, count))


def keys_of(rows: np.ndarray) -> Keys:
    return Keys(torch.from_numpy(rows), None)


def batches(images: ArrayImages, augmentation: AugmentationConfig, data: DataConfig, seed: int) -> DeviceBatches:
    return DeviceBatches(images, augmentation, data, 0.0, seed, CPU)


@st.composite
def cases(draw):
    side = draw(st.integers(1, 9))
    augmentation = AugmentationConfig(
        pipeline="batched",
        padding=draw(st.integers(0, side - 1)),
        padding_mode=draw(st.sampled_from(["zeros", "reflect", "symmetric"])),
        horizontal_flip=draw(st.sampled_from([0.0, 0.5, 1.0])),
        cutout=draw(st.integers(0, side)),
    )
    count = draw(st.integers(1, 6))
    key = st.tuples(st.integers(0, 300), st.integers(0, count - 1), st.integers(0, 3))
    keys = np.array(draw(st.lists(key, min_size=1, max_size=8)), dtype=np.int64)
    return images_of(count, side, channels := draw(st.sampled_from([1, 3]))), augmentation, channels, keys


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(0, 2**63 - 1))
def test_a_batch_is_the_reference_applied_to_each_image(case, seed):
    images, augmentation, channels, keys = case
    side = images.pixels.shape[1]
    found, targets = batches(images, augmentation, data_config(side, channels), seed).made(keys_of(keys))
    expected = [augmented(images.pixels, key, seed, augmentation) for key in keys.tolist()]
    np.testing.assert_array_equal(found.numpy(), np.stack(expected))
    np.testing.assert_array_equal(targets.argmax(dim=1).numpy(), images.labels[keys[:, 1]])


def test_every_place_of_the_crop_comes_up_equally_often_and_half_are_flipped():
    keys = torch.stack([torch.arange(50_000) % 7, torch.arange(50_000), torch.zeros(50_000, dtype=torch.int64)], 1)
    row, column, flip = words(derive(0, "crop and flip"), keys, 3)
    for counts in (below(9, row).bincount(), below(9, column).bincount()):
        assert ((counts - 50_000 / 9) ** 2 / (50_000 / 9)).sum() < 26.1  # chi squared, 8 degrees: 0.1 %
    together = (below(9, row) * 18 + below(9, column) * 2 + happens(0.5, flip)).bincount(minlength=162)
    assert ((together - 50_000 / 162) ** 2 / (50_000 / 162)).sum() < 222  # 161 degrees: 0.1 %
    assert not happens(0.0, flip).any() and happens(1.0, flip).all()


def test_seeds_epochs_images_and_copies_are_augmented_each_in_its_own_way():
    keys = torch.tensor([[e, i, c] for e in range(20) for i in range(20) for c in range(3)])
    drawn = torch.cat([words(derive(seed, "crop and flip"), keys, 3).flatten() for seed in range(3)])
    assert len(drawn.unique()) == len(drawn)


@pytest.mark.parametrize("channels", [1, 3])
def test_evaluation_takes_the_images_as_they_are(channels):
    images = images_of(11, 8, channels)
    images.pixels.setflags(write=False)  # as those that Pillow lends
    config = DataConfig(channels=channels, image_size=8, mean=[0.4] * channels, std=[0.2] * channels)
    pixels, labels = DeviceImages(images, config, CPU).samples(torch.tensor([7, 0, 10]))
    raw = torch.tensor(images.pixels[[7, 0, 10]])
    assert torch.equal(pixels, raw.permute(0, 3, 1, 2) if channels == 3 else raw[:, None])
    assert labels.tolist() == images.labels[[7, 0, 10]].tolist()
    expected = (pixels.float() - torch.tensor(0.4) * 255) / (torch.tensor(0.2) * 255)
    assert torch.equal(Normalise(config)(pixels), expected)


def write(folder, sides) -> FileImages:
    for number, side in enumerate(sides):
        Image.fromarray(np.full((side, side, 3), 10 * number, dtype=np.uint8)).save(folder / f"{number}.png")
    paths = np.array([f"{number}.png".encode() for number in range(len(sides))])
    return FileImages(folder, paths, np.arange(len(sides)))


def test_files_of_one_size_are_decoded_once_and_held(tmp_path):
    held = DeviceImages(write(tmp_path, [8, 8, 8]), data_config(8, 3), CPU)
    for file in tmp_path.iterdir():
        file.unlink()
    pixels, labels = held.samples(torch.tensor([2, 1]))
    assert pixels[:, 0, 0, 0].tolist() == [20, 10] and labels.tolist() == [2, 1]


def test_an_image_of_another_size_or_that_cannot_be_read_is_named(tmp_path):
    images = write(tmp_path, [8, 9])
    with pytest.raises(UserError, match=r"image_size=8, but the image .*1\.png is 9 x 9.*pipeline=images"):
        DeviceImages(images, data_config(8, 3), CPU)
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png"):
        AugmentedDeviceImages(images, AugmentationConfig(padding=2), data_config(8, 3), 0, CPU)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gpu_sees_the_pixels_that_a_cpu_sees(channels):
    augmentation = AugmentationConfig(
        pipeline="batched", padding=4, padding_mode="reflect", cutout=9, mixup=0.2, cutmix=1.0
    )
    config = DataConfig(num_classes=10, channels=channels, image_size=32, mean=[0.49] * channels, std=[0.2] * channels)
    images, order = images_of(500, 32, channels), np.random.default_rng(0).permutation(500)
    keys = np.stack([np.full(500, 7), order, order % 3], axis=1)
    found = []
    for device in (CPU, torch.device("cuda")):
        made = DeviceBatches(images, augmentation, config, 0.1, 1, device)
        samples, groups = torch.from_numpy(keys).to(device), torch.from_numpy(order % 4).to(device)
        mixture = Mixture(samples.flip(0), groups, Mixing(augmentation, 32, 1, device).drawn(3, groups=4))
        found.append([part.cpu() for part in made.made(Keys(samples, mixture))])
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
