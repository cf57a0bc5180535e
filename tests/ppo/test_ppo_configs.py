"""What the files of the games say, and what is answered to what they cannot."""

from __future__ import annotations

import re

import pytest

from experiments import environments, models, tasks
from experiments.launch.dispatch import dispatch
from experiments.optimizers.schedules import rate_of_update
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.epochs import of_run, total_updates
from experiments.schema.errors import UserError
from experiments.schema.experiment_file import read_experiment
from experiments.schema.names import choices
from experiments.training.task import Part

GAMES = [name for name in choices("exp") if name.startswith("ppo_")]


def composed(*arguments: str):
    (config,) = compose(list(arguments))
    check(config)
    return config


def test_there_is_a_file_for_every_game():
    assert {composed(f"exp={name}").ppo.game for name in GAMES} == set(environments.names())


@pytest.mark.parametrize("name", GAMES)
def test_the_agent_has_the_sizes_of_the_game_and_the_stated_number_of_parameters(name):
    config = composed(f"exp={name}")
    environment = environments.make(config.ppo.game, config.ppo.engine, [0])
    sizes = config.model.arguments["observations"], config.model.arguments["actions"]
    assert sizes == (environment.observation_size, environment.action_size)
    environment.close()
    agent = models.build(config.model, config.data)
    stated = re.match(r"([\d,]+) parameters", read_experiment(name)["mini"]["reason"])
    assert int(stated[1].replace(",", "")) == sum(parameter.numel() for parameter in agent.parameters())


@pytest.mark.parametrize(("recipe", "steps"), [("cleanrl", 999_424), ("tianshou", 3_072_000)])
def test_a_recipe_takes_its_steps_and_its_rate_falls_once_a_rollout_to_nothing(recipe, steps):
    config = composed("exp=ppo_hopper", "optim=adam", f"recipe={recipe}", "scale=paper")
    assert config.total_epochs * config.ppo.rollout_steps == steps
    assert total_updates(config) == config.total_epochs * 10 * 32
    epochs = of_run(config)
    rates = [rate_of_update(config, epochs, update) for update in (1, 320, 321, total_updates(config))]
    last = 3e-4 / config.total_epochs
    assert rates == pytest.approx([3e-4, 3e-4, 3e-4 - last, last])


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["ppo.game=HalfCheeta"], "did you mean 'HalfCheetah'"),
        (["ppo.engine=mujoc"], "did you mean 'mujoco'"),
        (["launch.seeds_per_process=2", "optim=lamb"], "lamb is not element-wise"),
        (["launch=plan", "launch.seeds_per_process=2", "optim=lamb"], "lamb is not element-wise"),
        (["launch.seeds_per_process=2", "precision=bf16"], "runs that share a process train in fp32 or fp64"),
        (["launch.seeds_per_process=2", "optim=muon"], "launch.seeds_per_process=1"),
        (["launch.seeds_per_process=2", "optim.max_grad_norm=1.0"], "set optim.max_grad_norm=0"),
        (["launch.seeds_per_process=2", "exp=vit_small"], "image_classification trains one seed in a process"),
    ],
)
def test_what_cannot_be_is_answered_before_any_run(arguments, answer):
    given = {argument.split("=")[0] for argument in arguments}
    rest = [argument for argument in ("exp=ppo_halfcheetah", "optim=adan") if argument.split("=")[0] not in given]
    with pytest.raises(UserError, match=re.escape(answer)):
        dispatch(compose([*rest, *arguments]))


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("ppo.environments=3", "did you mean 2?"),
        ("batch_size=100", "did you mean 64?"),
        ("ppo.normalise_rewards=reward", "did you mean 'rewards'"),
        ("ppo.gamma=1.5", "must be at most 1"),
        ("ppo.game=Ant", "a game is an experiment of its own; did you mean 'ppo_ant'?"),
        ("data=cifar10", "ppo_halfcheetah reads no data but mujoco"),
        ("batch_size=1", "advantages of one sample cannot be normalised"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_the_nearest_that_do(argument, answer):
    with pytest.raises(UserError, match=re.escape(answer)):
        composed("exp=ppo_halfcheetah", argument)


def test_an_engine_that_is_not_installed_says_what_to_install(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from experiments.environments import simulator

    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(simulator, "version", absent)
    with pytest.raises(UserError, match="pip install"):
        dispatch(compose(["exp=ppo_halfcheetah"]))


@pytest.mark.parametrize(
    ("argument", "answer"),
    [("model.arguments.actions=5", "give model.arguments.actions=6"), ("model.name=resnet18", "")],
)
def test_an_agent_that_does_not_suit_the_game_is_refused(argument, answer):
    config = composed("exp=ppo_halfcheetah", argument)
    with pytest.raises(UserError, match=answer or "trains an actor_critic"):
        tasks.build(config, Part(micro_batch=64))


@pytest.mark.parametrize(("recipe", "scale"), [("cleanrl", 0.01), ("tianshou", 0.01 * 2**0.5)])
def test_the_policy_begins_with_the_last_layer_of_its_source(recipe, scale):
    """Rows of an orthogonal matrix times a gain have that length; Tianshou multiplies one of gain sqrt(2) by 0.01
    (thu-ml/tianshou@278c91a2:examples/mujoco/mujoco_ppo.py)."""
    config = composed("exp=ppo_halfcheetah", f"recipe={recipe}")
    weight = models.build(config.model, config.data).actor[-1].weight.detach().double()
    assert weight.norm(dim=1).tolist() == pytest.approx([scale] * 6, rel=1e-5)
