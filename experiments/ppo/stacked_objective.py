"""PPO's loss of stacked agents with its gradient written out: the same numbers as autograd's, in half the time.

The networks are so small that autograd's bookkeeping and torch's tanh (four times slower on a CPU than the sigmoid it
can be written with) are much of the cost of an update.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.models.actor_critic import StackedActorCritic
from experiments.ppo.objective import LOG_ROOT_TAU, MiniBatch, entropy
from experiments.schema.task_sections import PPOConfig

MINUS_ONE = torch.tensor(-1.0)


def stacked_objective(config: PPOConfig, module: StackedActorCritic, batch: MiniBatch) -> Tensor:
    """Losses [S] as of `objective.Objective`."""
    return _Objective.apply(config, batch, *module.parameters())  # type: ignore[no-untyped-call]


class _Objective(torch.autograd.Function):
    """Parameters come in the module's order: log_std, then weight and bias of each hidden layer and of both heads.

    Samples are the last dimension here: features are [2 S, width, n], actor and critic of each seed in turn, and the
    first layers of both networks are one product [S, 2 width, n], since they see the same observations.
    """

    @staticmethod
    def forward(context: Any, config: PPOConfig, batch: MiniBatch, log_std: Tensor, *tensors: Tensor) -> Tensor:
        seeds, n, _ = batch.observations.shape
        *hidden, actor_head, critic_head = layers = list(zip(tensors[::2], tensors[1::2], strict=True))
        features = [batch.observations.transpose(1, 2)]
        for weight, bias in hidden:
            features.append(_tanh_layer(features[-1], weight, bias).view(2 * seeds, -1, n))
        actor, critic = features[-1].view(seeds, 2, -1, n).unbind(1)
        mean, value = _layer(actor, *actor_head), _layer(critic, *critic_head).view(seeds, n)

        precision = log_std.neg().exp_()[..., None]
        standard = torch.sub(batch.actions.transpose(1, 2), mean).mul_(precision)
        constant = log_std.sum(1, keepdim=True).add_(LOG_ROOT_TAU * log_std.shape[1])
        surprise = torch.add(batch.log_probabilities + constant, standard.square().sum(1), alpha=0.5)
        ratio = surprise.neg_().exp_()
        surrogate = batch.advantages * ratio
        clipped = batch.advantages * ratio.clamp_(1 - config.clip, 1 + config.clip)
        loss = torch.min(surrogate, clipped).sum(1).neg_()

        slope = error = value - batch.returns
        squares = error.square()
        if config.clip_value:
            moved = value - batch.values
            near = moved.clamp(-config.clip, config.clip)
            near_squares = torch.add(batch.values, near).sub_(batch.returns).square_()
            slope = error * ((squares >= near_squares) | (moved == near))
            squares = torch.max(squares, near_squares)
        loss.add_(squares.sum(1), alpha=0.5 * config.value_coefficient)
        if config.entropy_coefficient:
            loss.sub_(entropy(log_std), alpha=config.entropy_coefficient * n)

        # The surrogate's slope in the log probability, where it is not the clipped one that counts.
        of_log_probability = surrogate.masked_fill_(surrogate > clipped, 0.0).neg_()
        of_value = slope * config.value_coefficient
        context.config, context.features, context.layers = config, features, layers
        context.kept = standard, precision, of_log_probability, of_value
        return loss

    @staticmethod
    def backward(context: Any, outer: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        config, features = context.config, context.features
        *hidden, actor_head, critic_head = context.layers
        standard, precision, of_log_probability, of_value = context.kept
        seeds, n, outer = len(outer), standard.shape[-1], outer[:, None]
        last = features[-1].view(seeds, 2, -1, n)
        actor, critic = last.unbind(1)

        of_log_probability = of_log_probability * outer
        of_standard = of_log_probability[:, None] * standard
        of_log_std = (of_standard * standard).sum(2).sub_(of_log_probability.sum(1, keepdim=True))
        if config.entropy_coefficient:
            of_log_std -= config.entropy_coefficient * n * outer
        of_mean = of_standard.mul_(precision)
        of_value = (of_value * outer)[:, None]

        of_last = torch.empty_like(last)
        torch.bmm(actor_head[0][:, 0].transpose(1, 2), of_mean, out=of_last[:, 0])
        torch.mul(critic_head[0][:, 0].transpose(1, 2), of_value, out=of_last[:, 1])
        gradients = [*_of_layer(of_mean, actor, *actor_head), *_of_layer(of_value, critic, *critic_head)]
        of_features = of_last.view(2 * seeds, -1, n)
        for index in range(len(hidden) - 1, -1, -1):
            weight, bias = hidden[index]
            of_sums = torch.ops.aten.tanh_backward(of_features, features[index + 1])
            of_sums = of_sums.view(len(features[index]), -1, n)
            gradients[:0] = _of_layer(of_sums, features[index], weight, bias)
            if index:
                of_features = torch.bmm(weight.flatten(0, 1).transpose(1, 2), of_sums)
        return None, None, of_log_std, *gradients


def _layer(features: Tensor, weight: Tensor, bias: Tensor, factor: float = 1.0) -> Tensor:
    """`factor` times the sums of a layer with weight [S, parts, out, in]: [batch, in, n] to [batch, outs, n]."""
    batch, inputs, _ = features.shape
    weight, bias = weight.view(batch, -1, inputs), bias.view(batch, -1, 1)
    return torch.baddbmm(bias, weight, features, beta=factor, alpha=factor)


def _tanh_layer(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """tanh of the sums, as 2 sigmoid(2 x) - 1: 1.8e-7 from torch's in float32."""
    halves = _layer(features, weight, bias, factor=2.0).sigmoid_()
    return torch.add(MINUS_ONE, halves, alpha=2.0, out=halves)


def _of_layer(of_sums: Tensor, features: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a layer's weight and bias from those of its sums."""
    return torch.bmm(of_sums, features.transpose(1, 2)).view_as(weight), of_sums.sum(2).view_as(bias)
