"""PPO's loss of stacked agents with its gradient written out: the same numbers as autograd's, in half the time.

The networks are so small that autograd's bookkeeping and torch's tanh (four times slower on a CPU than the sigmoid it
can be written with) are much of the cost of an update.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.models.actor_critic import StackedActorCritic
from experiments.ppo.objective import MiniBatch, entropy, log_probability_of, normalised
from experiments.schema.config import PPOConfig


def stacked_objective(config: PPOConfig, module: StackedActorCritic, batch: MiniBatch) -> Tensor:
    """Losses [S] as of `objective.Objective`."""
    layers = [*module.hidden, module.mean, module.expected]
    tensors = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
    return _Objective.apply(config, batch, module.log_std, *tensors)  # type: ignore[no-untyped-call]


class _Objective(torch.autograd.Function):
    """Parameters come as log_std, then weight and bias of each layer in the order of `stacked_objective`."""

    @staticmethod
    def forward(context: Any, config: PPOConfig, batch: MiniBatch, log_std: Tensor, *tensors: Tensor) -> Tensor:
        seeds, n, size = batch.observations.shape
        *hidden, actor_head, critic_head = [tensors[index : index + 2] for index in range(0, len(tensors), 2)]
        features = [batch.observations[:, None].expand(seeds, 2, n, size).reshape(2 * seeds, n, size)]
        for weight, bias in hidden:
            features.append(tanh_(_linear(features[-1], weight.flatten(0, 1), bias.flatten(0, 1))))
        actor, critic = features[-1].unflatten(0, (seeds, 2)).unbind(1)
        mean = _linear(actor, actor_head[0][:, 0], actor_head[1][:, 0])
        value = _linear(critic, critic_head[0][:, 0], critic_head[1][:, 0]).squeeze(-1)

        precision = (-log_std[:, None]).exp()
        standard = (batch.actions - mean) * precision
        ratio = (log_probability_of(standard, log_std[:, None]) - batch.log_probabilities).exp()
        advantage = normalised(batch.advantages) if config.normalise_advantages else batch.advantages
        surrogate = -advantage * ratio
        clipped = -advantage * ratio.clamp(1 - config.clip, 1 + config.clip)
        policy = torch.max(surrogate, clipped).mean(1)

        error = value - batch.returns
        slope = error
        squares = error.square()
        if config.clip_value:
            moved = value - batch.values
            near = batch.values + moved.clamp(-config.clip, config.clip) - batch.returns
            near_squares = near.square()
            inside = near * (moved.abs() <= config.clip)
            slope = torch.where(squares >= near_squares, error, inside)
            squares = torch.max(squares, near_squares)
        loss = policy + 0.5 * config.value_coefficient * squares.mean(1)
        if config.entropy_coefficient:
            loss = loss - config.entropy_coefficient * entropy(log_std)

        # The surrogate's slope in the log probability, where it is not the clipped one that counts.
        of_log_probability = torch.where(surrogate >= clipped, surrogate, 0.0).div_(n)
        of_value = slope * (config.value_coefficient / n)
        context.config, context.features, context.tensors = config, features, tensors
        context.kept = standard, precision, of_log_probability, of_value
        return loss

    @staticmethod
    def backward(context: Any, outer: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        config, features, tensors = context.config, context.features, context.tensors
        *hidden, actor_head, critic_head = [tensors[index : index + 2] for index in range(0, len(tensors), 2)]
        standard, precision, of_log_probability, of_value = context.kept
        seeds, last = outer.shape[0], features[-1]
        actor, critic = last.unflatten(0, (seeds, 2)).unbind(1)

        of_standard = (of_log_probability * outer[:, None])[..., None] * standard
        of_mean = of_standard * precision
        of_log_std = (of_standard * standard).sum(1) - (of_log_probability.sum(1) * outer)[:, None]
        if config.entropy_coefficient:
            of_log_std -= config.entropy_coefficient * outer[:, None]
        of_value = (of_value * outer[:, None])[..., None]

        of_last = torch.empty_like(last).unflatten(0, (seeds, 2))
        of_last[:, 0] = torch.bmm(of_mean, actor_head[0][:, 0])
        torch.mul(of_value, critic_head[0][:, 0], out=of_last[:, 1])
        gradients = [*_of_linear(of_mean, actor, actor_head[0]), *_of_linear(of_value, critic, critic_head[0])]
        of_features = of_last.flatten(0, 1)
        for index in range(len(hidden) - 1, -1, -1):
            weight, _ = hidden[index]
            of_sums = torch.ops.aten.tanh_backward(of_features, features[index + 1])
            gradients[:0] = _of_linear(of_sums, features[index], weight)
            if index:
                of_features = torch.bmm(of_sums, weight.flatten(0, 1))
        return None, None, of_log_std, *gradients


def tanh_(values: Tensor) -> Tensor:
    """tanh in place, as 2 sigmoid(2 x) - 1: 1.8e-7 from torch's in float32."""
    return values.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)


def _linear(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias[:, None], features, weight.transpose(1, 2))


def _of_linear(of_sums: Tensor, features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a layer's weight and bias, in the weight's own shape [S, parts, out, in]."""
    of_weight = torch.bmm(of_sums.transpose(1, 2), features).view(weight.shape)
    return of_weight, of_sums.sum(1).view(weight.shape[:3])
