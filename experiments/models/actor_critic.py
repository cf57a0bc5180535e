"""Policy and value networks of PPO: one agent, or the agents of several seeds stacked into one batch.

The networks are CleanRL's and Tianshou's (ppo_continuous_action.py, mujoco_ppo.py): actor and critic apart, tanh,
orthogonal weights, a log standard deviation that does not depend on the state. They are so small that the time of a
pass is that of its calls; stacking S seeds makes S agents cost hardly more calls than one.

Both classes take observations [seeds, n, observations] and hold the same functions of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.schema.errors import UserError

HIDDEN_GAIN = 2**0.5


class ActorCritic(nn.Module):
    """One agent; the leading dimension of its inputs and outputs is 1."""

    def __init__(
        self,
        observations: int,
        actions: int,
        hidden: Sequence[int] = (64, 64),
        log_std: float = 0.0,
        gain: float = 1.0,
        actor_gain: float = 0.01,
    ) -> None:
        """`log_std` is where the log standard deviation begins; `gain` and `actor_gain` are those of the last layers of
        critic and actor. A small `actor_gain` makes the first actions almost pure noise around zero."""
        super().__init__()
        self.sizes = observations, actions, tuple(hidden)
        widths = [observations, *hidden]
        self.actor = _network([*widths, actions], actor_gain)
        self.critic = _network([*widths, 1], gain)
        self.log_std = nn.Parameter(torch.full((actions,), log_std))

    def policy(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [1, n, actions] and log standard deviation [1, 1, actions] of the Gaussian over actions."""
        return self.actor(observations), self.policy_log_std()

    def policy_log_std(self) -> Tensor:
        """Log standard deviation of the Gaussian over actions [1, 1, actions], the same for all observations."""
        return self.log_std[None, None]

    def acting(self) -> Callable[[np.ndarray], np.ndarray]:
        """The mean of `policy` as it is now, as a function of arrays: for one observation at a time numpy is faster."""
        return _means([(layer.weight[None], layer.bias[None, None]) for layer in _layers(self.actor)])

    def value(self, observations: Tensor) -> Tensor:
        """Expected discounted return [1, n]."""
        return self.critic(observations).squeeze(-1)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log standard deviation and value."""
        return *self.policy(observations), self.value(observations)

    def agents(self) -> list[nn.Module]:
        """The one agent."""
        return [self]


class StackedActorCritic(nn.Module):
    """Agents of S seeds. Every parameter is [S, ...]; hidden layers hold actor (0) and critic (1) side by side.

    An element-wise optimizer that steps these tensors steps each agent as if it were alone.
    """

    def __init__(self, agents: Sequence[ActorCritic]) -> None:
        super().__init__()
        self.seeds = len(agents)
        actors = [_layers(agent.actor) for agent in agents]
        critics = [_layers(agent.critic) for agent in agents]
        depth = len(actors[0]) - 1
        self.hidden = nn.ModuleList(
            _Stacked([[actor[index], critic[index]] for actor, critic in zip(actors, critics, strict=True)])
            for index in range(depth)
        )
        self.mean = _Stacked([[actor[-1]] for actor in actors])
        self.expected = _Stacked([[critic[-1]] for critic in critics])
        self.log_std = nn.Parameter(torch.stack([agent.log_std.detach() for agent in agents]))
        self._sizes = agents[0].sizes

    def policy(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Means [S, n, actions] and log standard deviations [S, 1, actions]."""
        features = observations
        for layer in self.hidden:
            features = layer(features, part=0).tanh_()
        return self.mean(features, part=0), self.policy_log_std()

    def policy_log_std(self) -> Tensor:
        """Log standard deviations [S, 1, actions]."""
        return self.log_std[:, None]

    def acting(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function of the means, as `ActorCritic` does: from [S, n, observations] to [S, n, actions]."""
        layers: list[Any] = [*self.hidden, self.mean]
        return _means([(layer.weight[:, 0], layer.bias[:, 0, None]) for layer in layers])

    def value(self, observations: Tensor) -> Tensor:
        """Expected discounted returns [S, n]."""
        features = observations
        for layer in self.hidden:
            features = layer(features, part=1).tanh_()
        return self.expected(features, part=0).squeeze(-1)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means, log standard deviations and values."""
        seeds, n, size = observations.shape
        features = observations[:, None].expand(seeds, 2, n, size).reshape(2 * seeds, n, size)
        for layer in self.hidden:
            features = layer.both(features).tanh()  # type: ignore[operator]
        actor, critic = features.unflatten(0, (seeds, 2)).unbind(1)
        return self.mean(actor, 0), self.policy_log_std(), self.expected(critic, 0).squeeze(-1)

    def agents(self) -> list[nn.Module]:
        """Each seed's agent as an `ActorCritic` of its own."""
        return [self._agent(seed) for seed in range(self.seeds)]

    def no_weight_decay(self) -> set[str]:
        """Name what has one dimension in an agent of its own."""
        return {"*.bias", "log_std"}

    @torch.no_grad()
    def clip_grad_norm_(self, max_norm: float) -> Tensor:
        """Clip each seed's gradient by its own norm, as `torch.nn.utils.clip_grad_norm_` does for one; return the
        norms [S]."""
        gradients = [p.grad.view(self.seeds, -1) for p in self.parameters() if p.grad is not None]
        norms = torch.linalg.vector_norm(torch.cat(gradients, dim=1), dim=1)
        factors = (max_norm / (norms + 1e-6)).clamp_(max=1.0)[:, None]
        for gradient in gradients:
            gradient.mul_(factors)
        return norms

    def _agent(self, seed: int) -> ActorCritic:
        with torch.device("meta"):
            agent = ActorCritic(*self._sizes)
        agent.to(self.log_std.dtype).to_empty(device=self.log_std.device)
        with torch.no_grad():
            hidden: list[Any] = list(self.hidden)
            for layer, own in zip([*hidden, self.mean], _layers(agent.actor), strict=True):
                layer.give(seed, 0, own)
            for layer, own in zip([*hidden, self.expected], _layers(agent.critic), strict=True):
                layer.give(seed, -1, own)
            agent.log_std.copy_(self.log_std[seed])
        return agent


class _Stacked(nn.Module):
    """Linear layers of S seeds, `parts` alike for each: weight [S, parts, out, in], bias [S, parts, out]."""

    def __init__(self, layers: list[list[nn.Linear]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([torch.stack([one.weight.detach() for one in row]) for row in layers]))
        self.bias = nn.Parameter(torch.stack([torch.stack([one.bias.detach() for one in row]) for row in layers]))

    def forward(self, features: Tensor, part: int) -> Tensor:
        """One part of each seed: [S, n, in] to [S, n, out]."""
        return torch.baddbmm(self.bias[:, part, None], features, self.weight[:, part].transpose(1, 2))

    def both(self, features: Tensor) -> Tensor:
        """All parts of each seed: [S * parts, n, in] to [S * parts, n, out]."""
        return torch.baddbmm(self.bias.flatten(0, 1)[:, None], features, self.weight.flatten(0, 1).transpose(1, 2))

    def give(self, seed: int, part: int, layer: nn.Linear) -> None:
        layer.weight.copy_(self.weight[seed, part])
        layer.bias.copy_(self.bias[seed, part])


def build(arguments: dict[str, Any]) -> ActorCritic:
    """An agent of `model.arguments`. Raises UserError for those that it does not take."""
    try:
        return ActorCritic(**arguments)
    except TypeError as error:
        raise UserError(f"model.arguments={arguments} do not suit actor_critic: {error}") from error


def _means(layers: list[tuple[Tensor, Tensor]]) -> Callable[[np.ndarray], np.ndarray]:
    """A network of tanh layers over arrays, from weights [S, out, in] and biases [S, 1, out] as they are now."""
    copies = [(w.detach().transpose(1, 2).cpu().numpy().copy(), b.detach().cpu().numpy().copy()) for w, b in layers]
    *hidden, (last_weight, last_bias) = copies

    def means(features: np.ndarray) -> np.ndarray:
        for weight, bias in hidden:
            features = np.tanh(features @ weight + bias)
        return features @ last_weight + last_bias

    return means


def _network(widths: Sequence[int], last_gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index, (inner, outer) in enumerate(pairwise(widths)):
        last = index == len(widths) - 2
        layer = nn.Linear(inner, outer)
        if not layer.weight.is_meta:
            nn.init.orthogonal_(layer.weight, last_gain if last else HIDDEN_GAIN)
            nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.Tanh()]
    return nn.Sequential(*layers)


def _layers(network: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in network if isinstance(layer, nn.Linear)]
