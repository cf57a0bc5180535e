"""The values of the authors' released runs hold in the composed configuration.

Numbers: sail-sg/Adan@2c65bea, CV/timm/exp_results, fifteen args_*.yaml and the logs beside them. One row a run; the run
that a rerun superseded (ViT-B, 300 epochs, first) is not a recipe but is named with its curve.
"""

from __future__ import annotations

import csv

import pytest
from config_files import EXPERIMENTS, ROOT

from experiments.schema.compose import compose

# Betas are (0.98, 0.92, beta3), eps 1e-8, no_prox false; `clip` inside the optimizer; `bias`: biases and norms decay.
OPTIMIZER = """
exp            recipe     epochs  batch  lr       beta3  decay  clip  bias  warmup  warmup_lr  min_lr  cooldown
vit_small      setting_1  150     2048   0.015    0.99   0.02   0     no    60      1e-8       1e-8    20
vit_small      setting_1  300     4096   0.02121  0.99   0.02   0     no    80      1e-8       1e-8    10
vit_small      setting_2  150     2048   0.015    0.99   0.02   0     no    60      1e-8       1e-5    10
vit_small      setting_2  300     2048   0.015    0.99   0.02   0     no    60      1e-8       1e-5    10
vit_base       setting_2  150     2048   0.015    0.99   0.02   5     yes   60      1e-6       1e-8    10
vit_base       setting_2  300     2048   0.015    0.99   0.02   5     yes   90      1e-8       1e-6    10
resnet50       setting_1  100     2048   0.03     0.99   0.02   5     yes   60      1e-9       1e-6    10
resnet50       setting_1  200     2048   0.015    0.99   0.02   5     yes   60      1e-9       1e-4    10
resnet50       setting_1  300     2048   0.015    0.99   0.02   5     yes   60      1e-6       1e-5    10
resnet101      setting_1  100     2048   0.01     0.99   0.02   5     yes   40      1e-9       1e-4    10
resnet101      setting_1  200     2048   0.015    0.99   0.02   5     yes   60      1e-9       1e-4    10
resnet101      setting_1  300     2048   0.015    0.99   0.02   5     yes   90      1e-9       1e-5    10
convnext_tiny  setting_2  150     2048   0.015    0.99   0.04   0     no    60      1e-8       1e-4    10
convnext_tiny  setting_2  300     2048   0.016    0.9    0.02   0     no    150     1e-8       1e-4    10
"""

# augment: the magnitude in rand-m?-mstd0.5-inc1. Everywhere cutmix 1 (probability 1, switch 0.5), flip 0.5.
INPUT = """
exp            recipe     epochs  augment  repeats  mixup  erasing  smooth  loss  drop_path  ema     train    crop  cell
vit_small      setting_1  150     7        0        0.2    0        0.1     bce   0.05       -       random   0.9   last
vit_small      setting_1  300     7        0        0.2    0        0.1     bce   0.05       -       random   0.9   last
vit_small      setting_2  150     7        0        0.8    0.25     0.1     bce   0.1        -       random   0.9   last
vit_small      setting_2  300     7        0        0.8    0.25     0.1     bce   0.1        -       random   0.9   last
vit_base       setting_2  150     9        3        0.8    0.25     0.1     soft  0.1        -       random   0.9   last
vit_base       setting_2  300     9        3        0.8    0.25     0.1     soft  0.2        -       random   0.9   last
resnet50       setting_1  100     7        0        0.1    0        0       bce   0.05       -       random   0.95  last
resnet50       setting_1  200     7        0        0.1    0        0       bce   0.05       -       random   0.95  last
resnet50       setting_1  300     7        0        0.1    0        0       bce   0.05       -       bicubic  0.95  last
resnet101      setting_1  100     7        0        0.1    0        0       bce   0.1        -       random   0.95  last
resnet101      setting_1  200     7        0        0.1    0        0       bce   0.1        -       random   0.95  best
resnet101      setting_1  300     7        0        0.1    0        0       bce   0.2        -       random   0.95  last
convnext_tiny  setting_2  150     9        0        0.8    0.25     0.1     soft  0.1        -       bicubic  0.95  last
convnext_tiny  setting_2  300     9        0        0.8    0.25     0.1     soft  0.1        0.9999  random   0.95  last
"""

MODELS = {
    "vit_small": "deit_small_patch16_224",
    "vit_base": "deit_base_patch16_224",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "convnext_tiny": "convnext_tiny_hnf",
}


# `amp` of sail-sg/win@452f2fa, CV/results/win_log/OPTIMIZER/MODEL_config.yaml: true means fp16 under autocast. ViT-B's
# AdamW at 300 epochs is not Win's but DeiT's, which trains under autocast.
WIN = """
exp        optim  epochs  precision
vit_base   adamw  150     fp32
vit_base   adamw  300     fp16
vit_small  adamw  150     fp16
resnet101  adamw  100     fp32
resnet101  adamw  200     fp32
resnet101  adamw  300     fp32
resnet101  adam   300     fp16
resnet101  sgd    300     fp16
resnet101  lamb   200     fp16
resnet50   adamw  300     fp16
resnet50   adam   300     fp16
resnet50   sgd    300     fp16
resnet50   lamb   200     fp16
"""


def rows(table: str) -> list[dict[str, str]]:
    header, *lines = (line.split() for line in table.strip().splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def paper(row: dict[str, str]):
    choices = ("exp", "recipe", "epochs")
    (config,) = compose([*(f"{key}={row[key]}" for key in choices), "optim=adan", "scale=paper"])
    return config


def name(row: dict[str, str]) -> str:
    return f"{row['exp']}-{row['recipe']}-{row['epochs']}"


@pytest.mark.parametrize("row", rows(OPTIMIZER), ids=name)
def test_optimizer_and_schedule_of_a_released_run(row):
    config = paper(row)
    assert config.optim == {
        "name": "adan",
        "lr": float(row["lr"]),
        "betas": [0.98, 0.92, float(row["beta3"])],
        "eps": 1e-8,
        "weight_decay": float(row["decay"]),
        "max_grad_norm": float(row["clip"]),
        "no_prox": False,
        "state_dtype": "float32",
        "state_rounding": "stochastic",
        "decay_bias_and_norm": row["bias"] == "yes",
    }
    assert config.batch_size == config.global_batch_size == int(row["batch"])
    assert config.batch_per_device == 256
    assert config.clip_grad_norm is None
    schedule = config.schedule
    assert (schedule.name, schedule.epochs) == ("cosine", int(row["epochs"]))
    assert schedule.warmup_epochs == int(row["warmup"])
    assert schedule.cooldown_epochs == int(row["cooldown"])
    assert (schedule.warmup_lr, schedule.min_lr) == (float(row["warmup_lr"]), float(row["min_lr"]))


@pytest.mark.parametrize("row", rows(INPUT), ids=name)
def test_model_data_and_loss_of_a_released_run(row):
    config = paper(row)
    augmentation = config.augmentation
    assert config.model.name == MODELS[row["exp"]]
    assert augmentation.auto_augment == f"rand-m{row['augment']}-mstd0.5-inc1"
    assert augmentation.color_jitter == 0.0
    assert (augmentation.scale, augmentation.horizontal_flip) == ([0.08, 1.0], 0.5)
    assert augmentation.interpolation == row["train"]
    assert augmentation.repeats == int(row["repeats"])
    assert (augmentation.mixup, augmentation.cutmix) == (float(row["mixup"]), 1.0)
    assert (augmentation.mixup_probability, augmentation.mixup_switch_probability) == (1.0, 0.5)
    assert augmentation.random_erasing == float(row["erasing"])
    assert config.loss.name == {"bce": "bce", "soft": "soft_target_cross_entropy"}[row["loss"]]
    assert config.loss.label_smoothing == float(row["smooth"])
    assert config.model.drop_path == float(row["drop_path"])
    assert config.ema_decay == (None if row["ema"] == "-" else float(row["ema"]))
    assert (config.evaluation.crop_pct, config.evaluation.interpolation) == (float(row["crop"]), "bicubic")
    assert config.metrics["top1"].reported == row["cell"]
    assert (config.precision, config.distribute_batch_norm, config.drop_last) == ("fp16", "reduce", True)


@pytest.mark.parametrize("row", rows(OPTIMIZER), ids=name)
def test_a_released_run_is_as_long_as_the_authors_curve(row):
    config = paper(row)
    with (ROOT / "results" / "curves" / f"{config.curve}.csv").open() as file:
        epochs = [int(line["epoch"]) for line in csv.DictReader(file)]
    assert epochs == list(range(config.total_epochs))


def test_nothing_of_a_released_run_is_ours():
    for row in rows(OPTIMIZER):
        levels = {fact["level"] for fact in paper(row).provenance.values()}
        assert levels <= {"released_log", "released_arguments", "inferred"}


def test_the_cool_down_of_vit_small_setting_1_comes_from_its_log():
    config = paper({"exp": "vit_small", "recipe": "setting_1", "epochs": "150"})
    assert config.provenance["schedule.cooldown_epochs"]["level"] == "released_log"


def test_the_superseded_run_of_vit_base_is_told_with_its_curve():
    told = " ".join(EXPERIMENTS["vit_base"]["recipes"]["setting_2"]["disagreements"])
    assert "82.176" in told and "seed 42" in told
    curve = "vit_base_setting_ii_300ep_first_run_adan"
    assert curve in told and (ROOT / "results" / "curves" / f"{curve}.csv").is_file()


@pytest.mark.parametrize("row", rows(WIN), ids=lambda row: f"{row['exp']}-{row['optim']}-{row['epochs']}")
def test_a_baseline_has_the_precision_of_the_configuration_it_follows(row):
    (config,) = compose([*(f"{key}={row[key]}" for key in ("exp", "optim", "epochs")), "scale=paper"])
    assert config.precision == row["precision"]
    if row["precision"] == "fp32":
        assert "sail-sg/win@452f2fa says amp: false" in config.provenance["precision"]["source"]
