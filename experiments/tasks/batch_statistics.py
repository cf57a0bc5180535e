"""Batch norm learns nothing of one value a channel: whether every micro-batch of a run of images has more for it.

Importing this module imports no torch.
"""

from __future__ import annotations

import json
from functools import lru_cache

from experiments.schema.batches import key_of_batch, largest_part, last_batch, micro_batch, pieces, unit
from experiments.schema.config import DataConfig, ModelConfig, RunConfig
from experiments.schema.digest import canonical_json
from experiments.schema.epochs import samples_per_epoch
from experiments.schema.errors import UserError
from experiments.schema.origin import origin
from experiments.schema.typed import to_dict

REFUSAL = "Expected more than 1 value per channel when training"  # torch.nn.functional, _verify_batch_size


def require_batch_statistics(config: RunConfig) -> None:
    """Raise UserError where a micro-batch has a single sample and the model cannot be trained on one.

    The model is only then looked at, on the meta device.
    """
    rest, samples = last_batch(config), samples_per_epoch(config)
    if samples >= config.global_batch_size and _smallest(config.global_batch_size, config) == 1:
        what, near = _of_every_update(config)
    elif rest and _smallest(rest, config) == 1:
        what, near = _of_the_last_update(config, rest, samples)
    else:
        return
    tree = to_dict(config)
    if not _trains_on_one_sample(canonical_json(tree["model"]), canonical_json(tree["data"])):
        side = config.data.image_size
        raise UserError(
            f"{what}: images of {side} x {side} pixels become one pixel in {config.model.name}, and its batch norm "
            f"cannot be trained on one value a channel; did you mean {near}?"
        )


def _smallest(samples: int, config: RunConfig) -> int:
    """Samples of the smallest micro-batch, on any rank, of an update of `samples`."""
    devices, whole = config.launch.devices, unit(config)
    return samples // whole // pieces(samples, micro_batch(config, devices), devices) * whole


def _of_every_update(config: RunConfig) -> tuple[str, str]:
    """Why micro-batches of the whole batch have one sample, and what would give them more."""
    batch, devices = config.global_batch_size, config.launch.devices
    if batch == 1:
        shown, two = key_of_batch(config, 2)
        return f"{shown}: a batch of one sample", str(two)
    share = batch // devices
    if share == 1:
        fewer = max(count for count in range(1, devices) if batch % count == 0)
        return f"launch.devices={devices} ({origin(config, 'launch.devices')}): one sample for each", str(fewer)
    recipe = largest_part(share, min(config.batch_per_device, share), 1)
    larger = recipe if recipe > 1 else min(size for size in range(2, share + 1) if share % size == 0)
    return f"launch.micro_batch=1 ({origin(config, 'launch.micro_batch')}): one sample at a time", str(larger)


def _of_the_last_update(config: RunConfig, rest: int, samples: int) -> tuple[str, str]:
    """The same of the smaller batch at the end of an epoch."""
    micro, devices = micro_batch(config, config.launch.devices), config.launch.devices
    cut = f", cut into micro-batches of at most {micro} on {devices} device(s)" if rest > 1 else ""
    what = (
        f"drop_last=false ({origin(config, 'drop_last')}): the {samples} samples of an epoch "
        f"(data.train_size={config.data.train_size}) in batches of {config.global_batch_size} end with {rest}{cut}, "
        "and one sample is left alone"
    )
    if samples >= config.global_batch_size:
        return what, "drop_last=true"
    shown, near = key_of_batch(config, max(2, samples))
    return what, f"{shown.partition('=')[0]}={near}"


@lru_cache(maxsize=64)
def _trains_on_one_sample(model: str, data_set: str) -> bool:
    """Whether the model takes one image in training, as far as the meta device can tell."""
    import torch

    from experiments import models

    data = DataConfig(**json.loads(data_set))
    with torch.device("meta"), torch.no_grad():
        module = models.build(ModelConfig(**json.loads(model)), data).train()
        try:
            module(torch.empty(1, data.channels, data.image_size, data.image_size))
        except ValueError as error:
            return REFUSAL not in str(error)
        except Exception:  # what has no form on the meta device
            return True
    return True
