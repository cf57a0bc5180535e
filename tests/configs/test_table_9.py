"""Transformer-XL's configurations against what was released: cells, arguments, and every rate that the logs print."""

from __future__ import annotations

import pytest
from config_files import EXPERIMENTS, REPORTED, TABLES

from experiments.launch import plan, plan_text
from experiments.optimizers.schedules import rate_of_update
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.epochs import of_run

# sail-sg/Adan@2c65bea:NLP/Transformer-XL/exp_results/log-{50k,100k,200k,adam}.txt print after so many updates the rate
# of the next one. All 2,750 lines agree; these are the first, some where the warm-up ends, and the last of a budget.
LOGGED = """
optim  updates  200      3000     3200     5000     5200     25000    49800    99800    199800
adan   50000    6e-05    0.0009   0.00096  0.0015   0.0015   0.000769 6.07e-08 -        -
adan   100000   6.67e-05 0.001    0.000999 0.000996 0.000995 0.000855 0.000504 9.89e-09 -
adan   200000   6.67e-05 0.001    0.001    0.000999 0.000999 0.000962 0.000855 0.000502 2.47e-09
adam   200000   0.00025  0.00025  0.00025  0.00025  0.00025  0.00024  0.000214 0.000125 6.17e-10
"""
ARGUMENTS = {"layers": 16, "d_model": 410, "heads": 10, "d_head": 41, "d_inner": 2100, "attention_drop": 0.0}


def paper(*arguments: str):
    (config,) = compose(["exp=transformer_xl", "scale=paper", *arguments])
    check(config)
    return config


@pytest.mark.parametrize("line", LOGGED.strip().splitlines()[1:])
def test_rates_are_those_of_the_logs(line):
    optim, updates, *rates = line.split()
    config = paper(f"optim={optim}", f"updates={updates}")
    steps = LOGGED.split("\n")[1].split()[2:]
    for step, printed in zip(steps, rates, strict=True):
        if printed != "-":
            assert f"{rate_of_update(config, of_run(config), int(step) + 1):.3g}" == printed, step


@pytest.mark.parametrize("arguments", [["optim=adan"], ["optim=adan", "updates=200000"], ["optim=adam"]])
def test_the_first_update_has_the_peak_rate(arguments):
    config = paper(*arguments)
    assert rate_of_update(config, of_run(config), 1) == config.optim["lr"]


def test_the_plan_counts_parameters_as_the_logs_do(capsys):
    made = plan.make(paper())
    assert (made.n_parameters, made.n_layer_parameters) == (151_107_538, 41_066_400)
    assert plan_text.show([made.config]) == 0
    assert "151,107,538, 41,066,400 without embeddings" in capsys.readouterr().out


def test_the_rest_of_the_released_arguments():
    config = paper("optim=adan")
    assert {key: config.model.arguments[key] for key in ARGUMENTS} == ARGUMENTS
    assert config.model.arguments["cutoffs"] == [20_000, 40_000, 200_000] and config.model.drop == 0.1
    assert (config.segments.length, config.segments.memory, config.global_batch_size) == (150, 150, 60)
    assert (config.segments.long_length, config.segments.long_memory, config.segments.long_clamp) == (64, 640, 400)
    assert (config.clip_grad_norm, config.precision, config.evaluation.every) == (0.25, "fp32", 4000)
    optim = config.optim
    assert (optim["betas"], optim["eps"], optim["weight_decay"]) == ([0.9, 0.9, 0.999], 1e-8, 0.02)
    assert optim["decay_bias_and_norm"] and optim["max_grad_norm"] == 0.0


def test_the_table_holds_every_reported_number_once_as_the_run_that_it_describes():
    cells = TABLES["t9"]["cells"]
    assert sorted(cell["reported"] for cell in cells) == sorted(key for key in REPORTED if key.startswith("T9-"))
    for cell in cells:
        record = REPORTED[cell["reported"]]
        assert (cell["optim"], cell["updates"]) == (record["optimizer"].lower(), record["budget"]["steps"])
        assert (record["metric"], record["batch_size"]) == (TABLES["t9"]["metric"], 60)


@pytest.mark.parametrize("scale", ["paper", "mini"])
def test_every_cell_composes_and_passes_all_checks(scale):
    configs = compose(["table=t9", f"scale={scale}"])
    for config in configs:
        check(config)
    assert len(configs) == 6 and {config.updates for config in configs} == {50_000, 100_000, 200_000}


def test_what_no_log_says_is_inferred():
    for updates in (50_000, 100_000):
        config = paper("optim=adam", f"updates={updates}")
        assert config.curve is None
        for key in ("optim.lr", "schedule.warmup_updates"):
            assert config.provenance[key]["level"] == "inferred"
    released = paper("optim=adam", "updates=200000")
    assert released.curve == "transformer_xl_200k_adam"
    assert released.provenance["optim.lr"]["level"] == "released_log"
    assert "ours" not in {fact["level"] for key, fact in released.provenance.items() if key != "checkpoint.every"}


def test_another_text_can_be_chosen_at_both_scales():
    assert paper("data=wikitext2").data.vocabulary == 33_278
    (mini,) = compose(["exp=transformer_xl", "data=wikitext2", "data.root=/somewhere"])
    check(mini)
    assert EXPERIMENTS["transformer_xl"]["data"] == "wikitext103"
