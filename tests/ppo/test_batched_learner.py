"""Seeds as one batch learn what each would have learnt alone: parameters after 640 mini-batches of the same samples."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from rollouts import ACTIONS, MINI_BATCH, OBSERVATIONS, mini_batches, recorded, stacked

from experiments import optimizers
from experiments.models.actor_critic import ActorCritic, StackedActorCritic
from experiments.ppo.objective import Objective
from experiments.ppo.stacked_objective import stacked_objective
from experiments.schema.task_sections import PPOConfig

SEEDS, PASSES, MAX_NORM = 3, 20, 0.5
OPTIMIZERS = {
    "adam": {"name": "adam", "lr": 3e-4, "eps": 1e-5},
    "adan": {"name": "adan", "lr": 3e-4},
    "adan with decay": {"name": "adan", "lr": 3e-4, "weight_decay": 0.02},
    "adan decaying all": {"name": "adan", "lr": 3e-4, "weight_decay": 0.02, "decay_bias_and_norm": True},
    "adamw": {"name": "adamw", "lr": 3e-4, "weight_decay": 0.01},
    "sgd": {"name": "sgd", "lr": 3e-3, "momentum": 0.9},
    "rmsprop": {"name": "rmsprop", "lr": 3e-4},
    "adabelief": {"name": "adabelief", "lr": 3e-4, "eps": 1e-8},
}
RECIPES = {
    "cleanrl": PPOConfig(),
    "tianshou": PPOConfig(clip_value=False),
    "entropy": PPOConfig(entropy_coefficient=0.01),
}


def agent(seed: int, dtype: torch.dtype) -> ActorCritic:
    torch.manual_seed(seed)
    return ActorCritic(OBSERVATIONS, ACTIONS).to(dtype)


def objective_of(module, config):
    """What the task minimises."""
    stacked = isinstance(module, StackedActorCritic)
    return partial(stacked_objective, config) if stacked else Objective(config)


def learn(module, optim, config, streams, rates=()):
    """Plain training: means of losses, clipping, step."""
    optimizer, objective = optimizers.build(optim, module, rates), objective_of(module, config)
    clip = getattr(module, "clip_grad_norm_", None)
    for batch in streams:
        optimizer.zero_grad()
        (objective(module, batch).sum() / MINI_BATCH).backward()
        if clip is not None:
            clip(MAX_NORM)
        else:
            torch.nn.utils.clip_grad_norm_(module.parameters(), MAX_NORM)
        optimizer.step()
    return module


def furthest(optim, config, dtype, passes=PASSES, rates=()) -> tuple[list[float], float]:
    """Of each seed the largest difference of a parameter between batch and alone; and how far parameters moved in
    all. `rates` are those of the seeds, where they have their own."""
    own = [{**optim, "lr": rate} for rate in rates] or [optim] * SEEDS
    wholes = [recorded(seed, dtype) for seed in range(SEEDS)]
    streams = [list(mini_batches(whole, seed, passes)) for seed, whole in enumerate(wholes)]
    alone = [learn(agent(seed, dtype), own[seed], config, streams[seed]) for seed in range(SEEDS)]
    module = StackedActorCritic([agent(seed, dtype) for seed in range(SEEDS)])
    together = learn(module, optim, config, map(stacked, zip(*streams, strict=True)), rates).agents()
    distances, moved = [0.0] * SEEDS, 0.0
    for seed, (one, other) in enumerate(zip(alone, together, strict=True)):
        for name, value in one.state_dict().items():
            distances[seed] = max(distances[seed], (value - other.state_dict()[name]).abs().max().item())
            moved = max(moved, (value - agent(seed, dtype).state_dict()[name]).abs().max().item())
    return sorted(distances), moved


# The paper's two by default; the others in the long run.
@pytest.mark.parametrize(
    "name", [name if name in ("adam", "adan") else pytest.param(name, marks=pytest.mark.slow) for name in OPTIMIZERS]
)
def test_640_mini_batches_of_seeds_together_and_alone(name):
    """One seed may part from itself: where the ratio of a sample is within rounding of the clip's border, it counts on
    one side and not on the other. That happens about once in 40 runs of 640 mini-batches, and never in float64."""
    distances, moved = furthest(OPTIMIZERS[name], RECIPES["cleanrl"], torch.float32)
    assert distances[-2] < 1e-5
    assert distances[-1] < 1e-2
    assert moved > 0.02


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["adam", "adan with decay"])
def test_in_double_precision_nothing_is_left_of_the_difference(name, recipe):
    distances, moved = furthest(OPTIMIZERS[name], RECIPES[recipe], torch.float64, passes=5)
    assert distances[-1] < 1e-10
    assert moved > 0.005


@pytest.mark.parametrize("rates", [(1e-4, 3e-4, 2e-3), (1e-3, 1e-3, 1e-4)])
@pytest.mark.parametrize("name", ["adam", "adan with decay", "sgd"])
def test_each_seed_has_the_learning_rate_that_it_would_have_alone(name, rates):
    distances, moved = furthest(OPTIMIZERS[name], RECIPES["cleanrl"], torch.float64, passes=5, rates=rates)
    assert distances[-1] < 1e-10
    assert moved > 0.005


@pytest.mark.parametrize("hidden", [(64, 64), (32,), (16, 24, 8)])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_gradient_written_out_is_that_of_autograd(recipe, hidden):
    torch.manual_seed(0)
    agents = [ActorCritic(OBSERVATIONS, ACTIONS, hidden).double() for _ in range(SEEDS)]
    module, batch = StackedActorCritic(agents), stacked([recorded(seed, torch.float64) for seed in range(SEEDS)])
    with torch.no_grad():  # away from the start, so that ratios and values are clipped in both directions
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    weights = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)
    results = []
    for losses in (stacked_objective(RECIPES[recipe], module, batch), Objective(RECIPES[recipe])(module, batch)):
        results.append((losses, torch.autograd.grad((losses * weights).sum(), list(module.parameters()))))
    (losses, gradients), (expected_losses, expected) = results
    torch.testing.assert_close(losses, expected_losses, rtol=1e-12, atol=1e-14)
    for gradient, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-10, atol=1e-13)


def test_agents_of_a_stack_are_those_it_was_made_of():
    agents = [agent(seed, torch.float32) for seed in range(SEEDS)]
    for one, other in zip(agents, StackedActorCritic(agents).agents(), strict=True):
        assert one.state_dict().keys() == other.state_dict().keys()
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_each_seed_is_clipped_by_its_own_norm():
    module = StackedActorCritic([agent(seed, torch.float64) for seed in range(SEEDS)])
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)
        parameter.grad[0] *= 1e-4  # below the threshold: stays
        parameter.grad[1] *= 100
    before = [parameter.grad.clone() for parameter in module.parameters()]
    norms = module.clip_grad_norm_(MAX_NORM)
    for seed in range(SEEDS):
        expected = torch.cat([gradient[seed].flatten() for gradient in before]).norm()
        assert torch.isclose(norms[seed], expected)
        after = torch.cat([parameter.grad[seed].flatten() for parameter in module.parameters()]).norm()
        assert torch.isclose(after, min(expected, torch.tensor(MAX_NORM, dtype=torch.float64)), rtol=1e-4)
