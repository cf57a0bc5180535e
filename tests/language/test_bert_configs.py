"""The released settings of pre-training and of every fine-tuning run hold in the composed configurations.

Numbers: sail-sg/Adan@2c65bea, NLP/BERT: exp_results/pretrain (arguments and logs) and config/finetuning/*.yaml.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from experiments.data import glue
from experiments.launch import plan
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest
from experiments.schema.tables import load_table

ROOT = Path(__file__).parents[2]
# What acc_test.py prints as the matched set's accuracy is over both sets.
MEASURED = {"accuracy_matched": "accuracy_both"}

# In the first column `-adan` where the file of that name says so; `decay` is weight_decay, `clip` clip_norm.
FINE_TUNING = """
file         lr     decay  beta2  beta3  batch  warmup  updates  schedule  clip
cola         1e-5   0.1    0.98   -      16     320     5336     linear    0
cola-adan    4e-5   0.01   0.99   0.99   16     320     5336     linear    0
mnli         1e-5   0.1    0.98   -      32     7432    123873   linear    0
mnli-adan    2e-5   0.01   0.92   0.999  16     7432    123873   linear    1.0
qnli         1e-5   0.1    0.98   -      32     1986    33112    linear    0
qnli-adan    2e-5   0.001  0.99   0.99   16     1986    33112    cosine    0
qqp          1e-5   0.1    0.98   -      32     28318   113272   linear    0
qqp-adan     4e-5   0.001  0.99   0.99   16     28318   113272   linear    0
rte          2e-5   0.1    0.98   -      16     122     2036     linear    0
rte-adan     2e-5   0.01   0.99   0.99   16     122     2036     linear    0
sst_2        1e-5   0.1    0.98   -      32     1256    20935    linear    0
sst_2-adan   4e-5   0.01   0.92   0.99   32     1256    20935    linear    0
sts_b        2e-5   0.1    0.98   -      16     214     3598     linear    0
sts_b-adan   4e-5   0.01   0.99   0.99   16     214     3598     cosine    0.5
"""
NAMES = {"cola": "CoLA", "sst_2": "SST-2", "sts_b": "STS-B"}
# (updates done, rate that the released log prints then): the rate that the next update uses.
LOGGED = {
    "adan": [
        (200, 2e-5),
        (9800, 9.8e-4),
        (10000, 1e-3),
        (10200, 9.99798e-4),
        (800200, 2.01818e-4),
        (823484, 1.78299e-4),
    ],
    "adam": [(200, 2e-6), (10000, 1e-4)],
}


def paper(*arguments: str):
    (config,) = compose([*arguments, "scale=paper"])
    check(config)
    return config


@pytest.mark.parametrize("optim", LOGGED)
def test_the_rate_of_pre_training_is_the_logged_one(optim):
    config = paper("exp=bert_pretrain", f"optim={optim}")
    made = plan.make(config)
    assert made.n_parameters == 124_697_433
    assert made.n_parameters - 768 == 209_714_265 - 85_017_600, "fairseq's count, less its fast path's copies"
    assert made.rate_of(1) == 0.0
    for done, rate in LOGGED[optim]:
        assert made.rate_of(done + 1) == pytest.approx(rate, rel=1e-5)
    assert made.rate_of(1_000_000) == pytest.approx(config.optim["lr"] / 990_000)
    assert (made.total_updates, config.global_batch_size, made.micro_batch) == (1_000_000, 256, 32)


def test_pre_training_has_the_released_arguments():
    adan, adam = paper("exp=bert_pretrain"), paper("exp=bert_pretrain", "optim=adam")
    assert (adan.optim["betas"], adan.optim["weight_decay"], adan.clip_grad_norm) == ([0.98, 0.92, 0.99], 0.02, 5.0)
    assert (adam.optim["betas"], adam.optim["eps"], adam.clip_grad_norm) == ([0.9, 0.98], 1e-6, None)
    assert adam.optim["weight_decay"] == 0.01 and adam.optim["decoupled_weight_decay"]
    assert (adan.curve, adam.curve) == ("bert_base_pretrain_1m_adan", "bert_base_pretrain_1m_adam")


@pytest.mark.parametrize("row", FINE_TUNING.strip().splitlines()[1:])
def test_fine_tuning_has_the_released_arguments(row):
    file, lr, decay, beta2, beta3, batch, warmup, updates, schedule, clip = row.split()
    task, adan = file.removesuffix("-adan"), file.endswith("-adan")
    name = NAMES.get(task, task.upper())
    config = paper("exp=bert_glue", f"task.name={name}", f"optim={'adan' if adan else 'adam'}")
    optim, betas = config.optim, [0.98, float(beta2), float(beta3)] if adan else [0.9, float(beta2)]
    assert (optim["lr"], optim["weight_decay"], optim["betas"]) == (float(lr), float(decay), betas)
    assert optim["eps"] == (1e-8 if adan else 1e-6) and optim["decay_bias_and_norm"]
    assert (config.global_batch_size, config.updates, config.schedule.updates) == (
        int(batch),
        int(updates),
        int(updates),
    )
    assert (config.schedule.name, config.schedule.warmup_updates) == (schedule, int(warmup))
    assert (config.clip_grad_norm or 0) == float(clip)
    made = plan.make(config)
    assert made.n_parameters == 124_055_040 + 768**2 + 768 + 769 * config.data.num_classes
    assert made.rate_of(1 + int(warmup)) == float(lr) and made.rate_of(1) == 0.0
    middle = 1 + (int(warmup) + int(updates)) // 2  # half of the way down, by a line or a cosine
    assert made.rate_of(middle) == pytest.approx(float(lr) / 2, rel=2e-3)
    assert config.provenance["optim.lr"]["level"] == "released_arguments"
    assert glue.task(name).regression == (config.data.num_classes == 1)


def test_the_table_is_every_task_by_both_optimizers():
    configs = compose(["table=t10"])
    assert len(configs) == 16 and len({config_digest(config) for config in configs}) == 14, "MNLI fills two cells"
    assert {config.glue.name for config in configs} == set(glue.TASKS) - {glue.SENTIMENT}
    assert len(compose(["table=t10", "optim=adan", "task.name=MNLI"])) == 2
    reported = {
        record["id"]: record for record in yaml.safe_load((ROOT / "results/reported/t10.yaml").read_text())["records"]
    }
    for cell in load_table("t10").cells:
        record = reported[cell.reported]
        config = paper("exp=bert_glue", f"task.name={cell.recipe}", f"optim={cell.optim}")
        assert record["dataset"].startswith(f"GLUE/{cell.recipe}") and record["optimizer"].lower() == cell.optim
        assert cell.metric == MEASURED.get(record["metric"], record["metric"]) and cell.metric in config.metrics
        assert config.metrics[cell.metric].direction == record["direction"]
    left_out = {
        key: record for key, record in reported.items() if key not in {c.reported for c in load_table("t10").cells}
    }
    assert all("average" in record["dataset"] or "[76]" in record["setting"] for record in left_out.values())


def test_the_released_selection_on_the_development_set_is_kept():
    cola = paper("exp=bert_glue", "task.name=CoLA").metrics["matthews_corr"]
    assert (cola.reported, cola.selected_by) == ("selected", "accuracy")
    regression = paper("exp=bert_glue", "task.name=STS-B").metrics["pearson"]
    assert (regression.reported, regression.selected_by) == ("selected", "eval_loss")


def test_a_run_of_adam_keeps_its_name():
    """`decoupled_weight_decay` came after the first records of Adam, and belongs to those of NAdam."""
    for record in (ROOT / "results" / "records").glob("resnet18-*adam-mini-*/record.json"):
        tree = json.loads(record.read_text())
        digest = config_digest(tree["config"])
        assert digest == tree["config_digest"]
        if tree["optim"] == "adam":
            tree["config"]["optim"]["decoupled_weight_decay"] = False
            assert config_digest(tree["config"]) == digest
            tree["config"]["optim"]["decoupled_weight_decay"] = True
            assert config_digest(tree["config"]) != digest
