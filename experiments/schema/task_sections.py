"""Sections of a configuration that one kind of task alone reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class BPTTConfig:
    """Truncated backpropagation through time: how the columns of a text are cut into updates; length 0: no text is.

    A piece has about `length` targets, with `half_probability` about half as many, normally distributed with
    `deviation` and never under `shortest`. With `scale_rate` its rate is the schedule's times its share of `length`.
    """

    length: int = 0
    half_probability: float = 0.0
    deviation: float = 0.0
    shortest: int = 1
    scale_rate: bool = False


@dataclass
class SegmentsConfig:
    """Transformer-XL's way through a text: `length` targets at a time, with the states of the `memory` tokens before.

    The evaluation reads in the same way and, where `long_length` is set, once more as the original's eval.py: every
    token sees exactly `long_memory` tokens, and distances beyond `long_clamp` count as that.
    """

    length: int = 0
    memory: int = 0
    long_length: int = 0
    long_memory: int = 0
    long_clamp: int = 0


@dataclass
class PPOConfig:
    """Proximal policy optimisation: the game, how it is sampled, and what is learnt from the samples.

    An epoch is a rollout: `rollout_steps` steps of each seed, over its `environments` together, seen `passes` times in
    mini-batches of `batch_size`. `normalise_rewards` divides `rewards` by the running deviation of the discounted
    return (CleanRL), or fits values to `returns` divided by their running deviation (Tianshou), or does `none`.
    Where an episode is cut by its time limit, `bootstrap_truncated` counts on the value of its last observation.
    `scale_actions` stretches [-1, 1] to the range of the actuators. `value_coefficient` is that of half the squared
    error.
    """

    game: str = ""
    engine: str = "mujoco"
    environments: int = 1
    rollout_steps: int = 2048
    passes: int = 10
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    clip_value: bool = True
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.0
    normalise_observations: bool = True
    normalise_rewards: str = "rewards"
    normalise_advantages: bool = True
    recompute_advantages: bool = False
    bootstrap_truncated: bool = False
    scale_actions: bool = False
    evaluation_episodes: int = 10


@dataclass
class TextConfig:
    """Text as sub-words. `tokenizer` is a folder or a hub repository; without one it is trained on the corpus, to the
    model's vocabulary. Sequences have at most `sequence_length` tokens, special ones counted.

    For masked language modelling one document of `held_out_every` is held out; `mask_probability` of the words are
    targets, of which `leave_unmasked` stay and `random_token` become another word.
    """

    tokenizer: str | None = None
    sequence_length: int = 512
    held_out_every: int = 100
    mask_probability: float = 0.15
    leave_unmasked: float = 0.1
    random_token: float = 0.1


@dataclass
class GlueConfig:
    """The task of GLUE that is learnt, by the name that `task.name=` gives on the command line."""

    name: str = ""
