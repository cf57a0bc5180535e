"""Seeds as one batch learn what each would have learnt alone: parameters after 640 mini-batches of the same samples."""

from __future__ import annotations

import pytest
import torch
from rollouts import ACTIONS, OBSERVATIONS, mini_batches, recorded, stacked

from experiments import optimizers
from experiments.models.actor_critic import ActorCritic, StackedActorCritic
from experiments.ppo.objective import Objective
from experiments.schema.config import PPOConfig

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
    "tianshou": PPOConfig(normalise_advantages=False, clip_value=False),
    "entropy": PPOConfig(entropy_coefficient=0.01),
}


def agent(seed: int, dtype: torch.dtype) -> ActorCritic:
    torch.manual_seed(seed)
    return ActorCritic(OBSERVATIONS, ACTIONS).to(dtype)


def learn(module, optim, config, streams, rate=None):
    """Plain training: sum of losses, clipping, step."""
    optimizer, objective = optimizers.build(optim, module), Objective(config)
    clip = getattr(module, "clip_grad_norm_", None)
    for batch in streams:
        optimizer.zero_grad()
        objective(module, batch).sum().backward()
        if clip is not None:
            clip(MAX_NORM)
        else:
            torch.nn.utils.clip_grad_norm_(module.parameters(), MAX_NORM)
        optimizer.step()
    return module


def furthest(optim, config, dtype, passes=PASSES) -> tuple[float, float]:
    """Largest difference of a parameter between batch and alone, and how far parameters moved in all."""
    wholes = [recorded(seed, dtype) for seed in range(SEEDS)]
    streams = [list(mini_batches(whole, seed, passes)) for seed, whole in enumerate(wholes)]
    alone = [learn(agent(seed, dtype), optim, config, streams[seed]) for seed in range(SEEDS)]
    module = StackedActorCritic([agent(seed, dtype) for seed in range(SEEDS)])
    together = learn(module, optim, config, map(stacked, zip(*streams, strict=True))).agents()
    distance, moved = 0.0, 0.0
    for seed, (one, other) in enumerate(zip(alone, together, strict=True)):
        for name, value in one.state_dict().items():
            distance = max(distance, (value - other.state_dict()[name]).abs().max().item())
            moved = max(moved, (value - agent(seed, dtype).state_dict()[name]).abs().max().item())
    return distance, moved


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_640_mini_batches_of_seeds_together_and_alone(name):
    distance, moved = furthest(OPTIMIZERS[name], RECIPES["cleanrl"], torch.float32)
    assert distance < 1e-5
    assert moved > 0.02


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["adam", "adan with decay"])
def test_in_double_precision_nothing_is_left_of_the_difference(name, recipe):
    distance, moved = furthest(OPTIMIZERS[name], RECIPES[recipe], torch.float64, passes=5)
    assert distance < 1e-10
    assert moved > 0.005


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
