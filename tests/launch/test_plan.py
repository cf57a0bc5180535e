"""What a plan says, against numbers computed by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from experiments.launch import plan, several
from experiments.launch.dispatch import dispatch
from experiments.optimizers.schedules import rate
from experiments.schema.compose import compose
from experiments.schema.errors import UserError

PAPER = ["exp=vit_small", "optim=adan", "scale=paper", "launch=plan", "launch.format=json"]


def planned(capsys: pytest.CaptureFixture[str], *arguments: str):
    assert dispatch(compose(list(arguments))) == 0
    return json.loads(capsys.readouterr().out)


def test_a_plan_of_the_released_vit_small_run(capsys):
    tree = planned(capsys, *PAPER, "launch.devices=8", "launch.lr_at=[1,625,626,193750]")
    assert (tree["exp"], tree["optim"], tree["scale"]) == ("vit_small", "adan", "paper")
    assert tree["n_parameters"] == 22_050_664  # DeiT-S, Touvron et al. 2021, table 1: 22 M
    assert (tree["epochs"], tree["updates_per_epoch"], tree["total_updates"]) == (310, 625, 193_750)
    assert tree["total_samples"] == 310 * 625 * 2048
    assert tree["global_batch_size"] == tree["micro_batch"] * tree["accumulation"] * tree["ranks"] == 2048
    assert tree["optimizer"]["lr"] == 0.015
    assert tree["optimizer"]["betas"] == [0.98, 0.92, 0.99]
    assert len(tree["lr_per_epoch"]) == 310
    assert tree["lr_at"] == {
        "1": tree["lr_per_epoch"][0],
        "625": tree["lr_per_epoch"][0],
        "626": tree["lr_per_epoch"][1],
        "193750": 1e-5,
    }
    assert tree["lr_per_epoch"][60] / 0.015 == pytest.approx(0.905, abs=1e-3)  # the jump onto the cosine
    assert "data.root" in tree["missing_data"]
    assert tree["warnings"] == []


def test_a_plan_says_what_rates_layers_have_and_how_the_momentum_moves(capsys):
    moving = ["schedule.base_momentum=0.85", "schedule.max_momentum=0.98", "optim.layer_decay=0.5"]
    tree = planned(capsys, *PAPER, *moving)
    assert tree["lr_scales"] == [0.5**layer for layer in range(13, -1, -1)]  # embedding, 12 blocks, head
    assert tree["lr_per_epoch"] == planned(capsys, *PAPER)["lr_per_epoch"]
    assert (tree["momentum_per_epoch"][0], tree["momentum_per_epoch"][-1]) == (0.98, 0.98)
    assert planned(capsys, *PAPER)["lr_scales"] == [1.0]
    assert dispatch(compose([*PAPER[:-1], *moving])) == 0
    text = capsys.readouterr().out
    assert "times 0.000122 in the first of 14 layers to 1 in the last" in text
    assert "momentum             first 0.98, lowest 0.8" in text


def test_a_plan_of_several_players_counts_the_states_and_rates_of_each(capsys):
    own = ["players.blocks.optim.lr=0.001", "players.head.optim.name=sgd", "players.head.optim.lr=0.5"]
    [config] = compose([*PAPER, *own, "players.head.schedule.name=constant"])
    made = plan.make(config)
    tree, sizes = made.as_dict(), {"blocks": 0, "head": 384 * 1000 + 1000}
    sizes["blocks"] = sum(math.prod(shape) for name, shape in made.shapes.items() if name.startswith("blocks."))
    assert made.memory["optimizer_state"] == 4 * (4 * sizes["blocks"] + sizes["head"])
    assert tree["players"]["blocks"]["optimizer"]["betas"] == [0.98, 0.92, 0.99]
    assert tree["players"]["blocks"]["lr_per_epoch"][60] / 0.001 == pytest.approx(0.905, abs=1e-3)
    assert tree["players"]["head"]["lr_per_epoch"] == [0.5] * 310
    assert planned(capsys, *PAPER)["players"] == {}
    assert dispatch([replace(config, launch=replace(config.launch, format="text"))]) == 0
    assert "head                 sgd on 385,000 parameters, learning rate peak 0.5" in capsys.readouterr().out


@pytest.mark.parametrize(("optim", "states"), [("adan", 4), ("adamw", 2), ("sgd", 1)])
def test_memory_counts_four_bytes_for_each_parameter_gradient_and_state(optim, states):
    [config] = compose([*PAPER[:1], f"optim={optim}", *PAPER[2:], "ema_decay=0.999"])
    made = plan.make(config)
    size = 4 * made.n_parameters
    assert made.memory == {"parameters": size, "gradients": size, "optimizer_state": states * size, "ema": size}


@pytest.mark.parametrize("optim", ["adafactor", "muon"])
def test_memory_of_states_that_follow_shapes_and_names_is_what_a_step_makes(optim):
    import torch

    from experiments import models, optimizers

    [config] = compose(["exp=vit_small", f"optim={optim}"])
    module = models.build(config.model, config.data)
    optimizer = optimizers.build(config.optim, module)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    assert plan.make(config).memory["optimizer_state"] == 4 * sum(value.numel() for value in kept if value.ndim > 0)


@pytest.mark.parametrize(("optim", "states"), [("adan", 4), ("adam", 2)])
def test_memory_of_a_model_with_frozen_weights_is_what_a_step_makes(optim, states):
    """AdaBelief's code trains no recurrent weights: 4 x 1150^2 + 4 x 1150^2 + 4 x 400^2 of three layers."""
    import torch

    from experiments import optimizers
    from experiments.models import awd_lstm

    [config] = compose(["exp=ptb_lstm_3", f"optim={optim}", "scale=paper"])
    made = plan.make(config)
    assert (made.n_parameters, made.n_trained_parameters) == (24_221_600, 24_221_600 - 11_220_000)

    module = awd_lstm.build(config.model.arguments, config.data.vocabulary)
    optimizer = optimizers.build(config.optim, module)
    tokens = torch.zeros(2, 1, dtype=torch.int64)
    module(tokens, module.carry(1), module.drop()).logits.square().mean().backward()
    optimizer.step()
    kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    held = {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "gradients": sum(parameter.grad.numel() for parameter in module.parameters() if parameter.grad is not None),
        "optimizer_state": sum(value.numel() for value in kept if value.ndim > 0),
    }
    assert made.memory == {name: 4 * count for name, count in held.items()}
    assert held["optimizer_state"] == states * 13_001_600


def test_the_text_says_how_many_parameters_never_train(capsys):
    assert dispatch(compose(["exp=ptb_lstm_3", "scale=paper", "launch=plan"])) == 0
    assert "24,221,600 (11,220,000 of them never train), 20,211,600 without embeddings" in capsys.readouterr().out


def test_the_plan_uses_the_rates_that_training_uses(capsys):
    [config] = compose(["exp=resnet18", "optim=sgd", "scale=paper", "launch=plan", "launch.format=json"])
    tree = planned(capsys, "exp=resnet18", "optim=sgd", "scale=paper", "launch=plan", "launch.format=json")
    expected = [rate(config.schedule, config.optim["lr"], epoch) for epoch in range(config.total_epochs)]
    assert tree["lr_per_epoch"] == expected
    assert expected[0] != expected[-1]


def test_a_plan_in_words_says_its_scale_and_what_that_made_of_the_experiment(capsys):
    assert dispatch(compose(["exp=vit_small", "optim=adan", "scale=small", "launch=plan"])) == 0
    text = capsys.readouterr().out
    assert "batch 2048, small scale, seed 0)" in text
    assert "small scale          4,028,170 parameters, 0.548 GFLOP an image forward. Estimated, not measured:" in text
    assert dispatch(compose(["-m", "exp=vit_small", "scale=small,mini", "launch=plan"])) == 0
    assert "2 runs, small and mini scale" in capsys.readouterr().out


def test_images_that_lie_on_the_device_are_counted():
    [config] = compose(["exp=cifar10_wrn22", "optim=adamw", "scale=paper"])
    made = plan.make(config)
    assert made.memory["images"] == 3 * (50_000 * 40**2 + 10_000 * 32**2)  # padded by 4 a side; as they are
    assert made.memory["parameters"] == 4 * made.n_parameters


def test_a_sweep_plans_to_a_list(capsys):
    trees = planned(capsys, "exp=vit_small", "-m", "seed=0,1", "launch=plan", "launch.format=json")
    assert [tree["seed"] for tree in trees] == [0, 1]


def test_another_micro_batch_than_the_recipes_is_warned_of(capsys):
    tree = planned(capsys, *PAPER, "launch.micro_batch=32")
    assert (tree["micro_batch"], tree["accumulation"]) == (32, 64)
    assert any("batch per device of 256" in text for text in tree["warnings"])


def test_a_run_that_stops_early_is_planned_as_one(capsys):
    [warning] = planned(capsys, *PAPER, "stop_at=3epochs")["warnings"]
    assert warning.startswith("stop_at=3epochs: it ends after update 1,875 of 193,750, with a partial record")


def test_the_text_shows_values_sources_and_costs(capsys):
    assert dispatch(compose(["exp=vit_small", "scale=paper", "launch=plan", "optim.lr=0.5"])) == 0
    text = capsys.readouterr().out
    for piece in (
        "22,050,664",
        "193,750",
        "micro-batch 256 x accumulation 8 x 1",
        "released_arguments",
        "command_line",
    ):
        assert piece in text
    assert "optim.lr=0.5" in text
    assert "missing data" in text
    assert "sources disagree" in text


@pytest.mark.parametrize(
    ("exp", "reads", "others"),
    [
        ("vit_small", {"augmentation", "loss"}, {"ppo", "bptt", "glue", "segments", "text"}),
        ("ppo_ant", {"ppo"}, {"augmentation", "loss", "bptt", "glue", "segments", "text"}),
        ("bert_glue", {"glue", "text"}, {"augmentation", "ppo", "bptt", "segments"}),
    ],
)
def test_the_text_has_the_sections_that_the_task_reads_and_no_others(capsys, exp, reads, others):
    assert dispatch(compose([f"exp={exp}", "optim=adan", "launch=plan"])) == 0
    recipe = capsys.readouterr().out.partition("resolved recipe")[2]
    sections = {line.split(".")[0] for line in recipe.splitlines() if "." in line.split(" ")[0]}
    assert reads <= sections and not others & sections


def test_a_launcher_that_nothing_implements_is_refused():
    (config,) = compose(["exp=vit_small"])
    config.launch.name = "moon"
    with pytest.raises(UserError, match="launch=moon: no such launcher; choose from: local, plan"):
        dispatch([config])


def test_a_table_plans_to_one_row_for_each_cell(capsys):
    assert dispatch(compose(["table=t7", "launch=plan", "scale=paper"])) == 0
    text = capsys.readouterr().out
    assert text.count("vit_small") == 12
    assert "32768" in text


def test_cells_that_are_one_run_count_once(capsys):
    """MNLI's matched and mismatched accuracy are two cells of Table 10; seven tasks are seven runs."""
    trees = planned(capsys, "table=t10", "optim=adam", "launch=plan", "launch.format=json")
    assert sorted(tree["recipe"] for tree in trees) == ["CoLA", "MNLI", "QNLI", "QQP", "RTE", "SST-2", "STS-B"]


def test_the_summary_of_several_runs_names_their_recipes(capsys):
    several._summarise([several.Entry(config) for config in compose(["-m", "exp=bert_glue", "task.name=RTE,CoLA"])])
    lines = capsys.readouterr().out.splitlines()
    assert [task for line in lines for task in ("RTE", "CoLA") if task in line] == ["RTE", "CoLA"]
