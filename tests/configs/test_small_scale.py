"""The small scale: every cell of the ImageNet tables on all of CIFAR-10, with models of a stated size and cost."""

from __future__ import annotations

import functools
import re
from collections import defaultdict

import pytest
import torch
from config_files import EXPERIMENTS, TABLES
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.launch import plan
from experiments.models import build
from experiments.schema import names
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.scales import PAPER, SCALES, SHRUNK, about

CELLS = {"t2": 44, "t3": 10, "t4": 20, "t7": 12}
EXPS = [name for name, tree in EXPERIMENTS.items() if "small" in tree]
BUDGETS = {90: 30, 100: 33, 150: 50, 200: 67, 300: 100}
LINEAR = {"sgd", "sam"}

# ResNet-18's is that of kuangliu/pytorch-cifar's; the others follow from the arguments in configs/exp.
PARAMETERS = {
    **{"resnet18": 11_173_962, "resnet50": 5_905_098, "resnet101": 7_585_482},
    **{"convnext_tiny": 4_834_474, "convnext_small": 6_670_762, "vit_small": 4_028_170, "vit_base": 7_140_362},
    **{"swin_tiny": 5_407_430, "swin_small": 10_148_342, "swin_base": 15_838_022},
}


@functools.cache
def cells(table: str, scale: str) -> list[RunConfig]:
    return compose([f"table={table}", f"scale={scale}"])


@functools.cache
def model(name: str) -> nn.Module:
    (config,) = compose([f"exp={name}", "scale=small"])
    with torch.device("meta"):
        return build(config.model, config.data)


def test_a_scale_is_a_name_a_file_and_a_section():
    assert sorted(SCALES) == names.choices("scale")
    for scale in SHRUNK:
        assert about(scale)["variant"] == scale and about(scale)["page"]
    assert about(PAPER)["variant"] is None


def test_the_experiments_of_the_four_tables_have_it_and_no_others():
    assert set(EXPS) == {cell["exp"] for name in CELLS for cell in TABLES[name]["cells"]}


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_runs_its_share_of_the_papers_budget_on_the_whole_set(name):
    configs = cells(name, "small")
    assert len(configs) == CELLS[name]
    for config in configs:
        check(config)
        assert (config.scale, config.overrides, config.curve) == ("small", [], None)
        assert (config.data.name, config.data.train_size, config.data.test_size) == ("cifar10", 50_000, 10_000)
        assert (config.data.image_size, config.augmentation.pipeline, config.precision) == (32, "batched", "bf16")
        assert (config.augmentation.padding, config.augmentation.padding_mode) == (4, "reflect")
        assert config.total_epochs == BUDGETS[config.epochs]
        assert config.provenance["augmentation.pipeline"]["level"] == "ours"
        mixing = {"t2": (0.1, 0.8), "t3": (0.0,), "t4": (0.8,), "t7": (0.2,)}[name]
        assert config.augmentation.mixup in mixing
        erases = config.recipe == "setting_2"  # the recipe with random erasing
        assert config.augmentation.cutout == (7 if erases else 0)


@pytest.mark.parametrize("name", CELLS)
def test_optimizers_of_a_setting_share_all_but_their_own(name):
    """A small run is judged against the other optimizers at the same setting: there must be such a setting."""
    settings = defaultdict(set)
    for c in cells(name, "small"):
        batch = c.batch_size if name == "t7" else None
        settings[c.exp, c.recipe, c.epochs, batch].add(
            (
                *(c.global_batch_size, c.batch_per_device, c.total_epochs, c.schedule.name, c.ema_decay, c.precision),
                *(c.schedule.per_update, c.schedule.warmup_prefix, str(c.augmentation), str(c.loss), str(c.model)),
            )
        )
    assert all(len(found) == 1 for found in settings.values())


@pytest.mark.parametrize("name", CELLS)
def test_rates_are_the_recipes_by_one_rule(name):
    for small, paper in zip(cells(name, "small"), cells(name, "paper"), strict=True):
        exponent = 1.0 if small.optim["name"] in LINEAR else 0.5
        ratio = small.global_batch_size / paper.global_batch_size
        assert small.optim["lr"] == pytest.approx(paper.optim["lr"] * ratio**exponent, rel=1e-12)
        assert small.provenance["optim.lr"]["level"] == "ours"


def test_batches_of_table_7_are_an_eighth():
    assert {config.batch_size: config.global_batch_size for config in cells("t7", "small")} == {
        **{1024: 128, 2048: 256, 4096: 512, 8192: 1024, 16384: 2048, 32768: 4096}
    }


def test_milestones_of_the_step_schedule_keep_their_places():
    milestones = {config.optim["name"]: config.schedule.milestones for config in cells("t3", "small")}
    assert milestones.pop("adabelief") == [23, 27]
    assert set(map(tuple, milestones.values())) == {(10, 20)}


@pytest.mark.parametrize("name", EXPS)
def test_a_model_has_the_size_and_the_cost_that_its_reason_states(name):
    module = model(name)
    reason = EXPERIMENTS[name]["small"]["reason"]
    size, gflop, minutes, epochs, rate = re.match(
        r"([\d,]+) parameters, ([\d.]+) GFLOP an image forward\. Estimated, not measured: ([\d.]+) minutes for (\d+) "
        r"epochs at (\d+) TFLOP/s",
        reason,
    ).groups()
    assert int(size.replace(",", "")) == PARAMETERS[name] == sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as counter:
        module(torch.empty(1, 3, 32, 32, device="meta"))
    assert float(gflop) == pytest.approx(counter.get_total_flops() / 1e9, abs=5e-4)
    images = int(epochs) * (3 * 50_000 + 10_000)  # forward and twice that backward, and an evaluation an epoch
    assert float(minutes) == pytest.approx(images * float(gflop) / (float(rate) * 1000) / 60, abs=0.06)
    slowest = 2 if "sam" in EXPERIMENTS[name]["recipes"][EXPERIMENTS[name]["default_recipe"]]["optimizers"] else 1
    assert slowest * float(minutes) <= 10


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        *[("vit_small", "vit_base"), ("resnet50", "resnet101"), ("convnext_tiny", "convnext_small")],
        *[("swin_tiny", "swin_small"), ("swin_small", "swin_base")],
    ],
)
def test_siblings_keep_their_order_of_size(smaller, larger):
    assert PARAMETERS[smaller] < PARAMETERS[larger]


@pytest.mark.parametrize("name", ["swin_tiny", "swin_small", "swin_base"])
def test_a_small_swin_keeps_its_shifted_windows(name):
    blocks = [part for part in model(name).modules() if type(part).__name__ == "SwinTransformerBlock"]
    assert sum(max(block.shift_size) > 0 for block in blocks) == 2  # one of two in each stage but the last


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_a_small_resnet_keeps_the_resolution_in_its_first_stage(name):
    module = model(name)
    features = module.maxpool(module.act1(module.bn1(module.conv1(torch.empty(2, 3, 32, 32, device="meta")))))
    assert features.shape == (2, 64, 32, 32)


def test_a_plan_says_scale_and_cost():
    configs = cells("t7", "small")
    plans = [plan.make(config) for config in configs]
    assert sum(one.total_updates for one in plans) == 2 * (39_000 + 19_500 + 9_700 + 4_800 + 2_400 + 1_200)
    assert all(one.warnings == ["small scale: never compared with the paper's numbers"] for one in plans)


def test_an_experiment_without_it_refuses_and_says_which_have_it():
    expected = (
        r"scale=small \(command line\): configs/exp/ppo_ant\.yaml has no section 'small': exp=ppo_ant has scale=paper "
        rf"and scale=mini; scale=small is there for {', '.join(sorted(EXPS))}$"
    )
    with pytest.raises(UserError, match=expected):
        compose(["exp=ppo_ant", "scale=small"])
    with pytest.raises(UserError, match="has no section 'small': exp=ptb_lstm_1"):
        compose(["table=t8", "scale=small"])
    with pytest.raises(UserError, match=r"scale=smal \(command line\): no such scale; did you mean 'small'"):
        compose(["exp=vit_small", "scale=smal"])
