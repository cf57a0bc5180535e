"""Adan's settings for people who bring AdamW's: the authors' advice, every rule with its source.

    advice = from_adamw(lr=1e-3, weight_decay=0.05, warmup=5)
    optimizer = Adan(model.parameters(), **advice.arguments())
    print(advice)

Nothing here is ours but the reading: a rule without a source is not given, and where sources disagree both speak.
`python scripts/adan_from_adamw.py --lr 1e-3 --weight-decay 0.05` prints the same.
"""

from __future__ import annotations

import difflib
import math
import textwrap
from dataclasses import dataclass
from typing import Any

README = "README of github.com/sail-sg/Adan"
ISSUE = "the author in github.com/sail-sg/Adan/issues/{}"
FASTXTEND = "second-hand: notes on the paper in warner-benjamin/fastxtend, nbs/optimizer.adan.ipynb"
TASKS = {
    "general": "training from scratch: vision, speech, ... (no other kind fits)",
    "language-model": "pre-training a language model, as GPT-2",
    "bert-fine-tuning": "fine-tuning BERT, as on GLUE",
    "instruction-tuning": "instruction tuning of a language model",
    "diffusion": "diffusion models",
    "mae-pretraining": "masked autoencoders, pre-training",
    "lstm": "LSTM language models",
    "rl": "reinforcement learning, as PPO",
}


@dataclass(frozen=True)
class Rule:
    """Holds what a source says, and the source. `factors` (times AdamW's value) or `values` are what follows from
    it."""

    text: str
    source: str
    factors: tuple[float, ...] = ()
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Setting:
    """One of Adan's settings: the values to try, the careful one first (none where no source names any), and why."""

    name: str
    values: tuple[Any, ...]
    rules: tuple[Rule, ...]

    @property
    def missing(self) -> str:
        """Why there are no values."""
        if any(rule.factors for rule in self.rules):
            return f"AdamW's {self.name} times a factor: give AdamW's"
        return "no source names a value: search"


@dataclass(frozen=True)
class Advice:
    """Settings with the values to try; of the betas, beta3 is to be tuned first. `str()` is readable in a terminal."""

    task: str
    settings: tuple[Setting, ...]

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `adan.Adan` to start from: the first value of every setting (warm-up is no argument).

        Where no source names a learning rate it is absent: Adan's default is nobody's advice.
        """
        chosen = {s.name: s.values[0] for s in self.settings if s.values}
        betas = tuple(chosen.pop(name) for name in ("beta1", "beta2", "beta3"))
        chosen.pop("warmup", None)
        return {**chosen, "betas": betas}

    def __str__(self) -> str:
        lines = [
            f"Adan for AdamW's settings: {TASKS[self.task]}",
            "In the order in which to tune; start from the first.",
        ]
        for setting in self.settings:
            values = ", ".join(_number(value) for value in setting.values) or setting.missing
            lines += ["", f"{setting.name:14}{values}"]
            for rule in setting.rules:
                lines += textwrap.wrap(rule.text, 100, initial_indent="    - ", subsequent_indent="      ")
                lines += textwrap.wrap(f"[{rule.source}]", 100, initial_indent="      ", subsequent_indent="      ")
        return "\n".join(lines)


def from_adamw(
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    warmup: float | None = None,
    task: str = "general",
) -> Advice:
    """Adan's settings from AdamW's, for a kind of task of `TASKS`.

    Args:
        lr: AdamW's peak learning rate.
        betas, eps: AdamW's. They do not carry over; the advice says what takes their place.
        weight_decay: AdamW's.
        warmup: length of AdamW's warm-up in any unit (steps, epochs); None leaves warm-up to rules.
        task: a key of `TASKS`.

    Raises:
        ValueError: a value out of its range, or an unknown task (with the nearest one).
    """
    for name, value, low in (("lr", lr, 0), ("weight_decay", weight_decay, 0), ("eps", eps, 0), ("warmup", warmup, 0)):
        if (value is not None and not (low <= value < math.inf)) or (name == "lr" and not value):
            bound = "above" if name == "lr" else "at least"
            raise ValueError(f"AdamW's {name} must be {bound} 0 and finite, not {value}")
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"AdamW has two betas in [0, 1), not {betas}")
    if task not in TASKS:
        near = difflib.get_close_matches(task, TASKS, n=1)
        raise ValueError(
            f"unknown task {task!r}; " + (f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(TASKS)}")
        )
    return Advice(
        task,
        (
            _setting("lr", _of(LEARNING_RATE, task), lr),
            _setting("weight_decay", _of(WEIGHT_DECAY, task), weight_decay),
            _setting("warmup", _of(WARMUP, task), warmup),
            _setting("beta3", _of(BETA3, task)),
            _setting("beta1", _of(BETA1, task)),
            _setting("beta2", _of(BETA2, task)),
            _setting("eps", EPS),
            _setting("no_prox", _of(NO_PROX, task)),
        ),
    )


def _of(rules: dict[str, tuple[Rule, ...]], task: str) -> tuple[Rule, ...]:
    """The rules for a task, or the general ones where it has none of its own."""
    return rules.get(task, rules["general"])


def _setting(name: str, rules: tuple[Rule, ...], adamw: float | None = None) -> Setting:
    """The distinct values of all rules in their order; factors count only where AdamW's value is known."""
    values: list[Any] = []
    for rule in rules:
        scaled = [float(f"{factor * adamw:.6g}") for factor in rule.factors] if adamw is not None else []
        values += [value for value in (*rule.values, *scaled) if value not in values]
    return Setting(name, tuple(values), rules)


def _number(value: Any) -> str:
    return str(value) if isinstance(value, bool) else f"{value:g}"


LEARNING_RATE = {
    "general": (
        Rule(
            "5-10 times that of Adam(W) as the peak, in all experiments of the paper but MAE pre-training and LSTM.",
            f"{README}, tips for experiments",
            factors=(5, 10),
        ),
        Rule("5 times Adam's.", ISSUE.format(29), factors=(5,)),
    ),
    "language-model": (
        Rule("5-10 times that of Adam(W) as the peak.", f"{README}, tips for experiments", factors=(5, 10)),
        Rule("Rate and weight decay matter most; larger than AdamW's.", ISSUE.format(40)),
    ),
    "bert-fine-tuning": (
        Rule(
            "1 (RTE), 2 (MNLI, QNLI, STS-B) or 4 times (CoLA, QQP, SST-2) the rate of their Adam in the released runs.",
            "github.com/sail-sg/Adan, NLP/BERT/config",
            factors=(1, 2, 4),
        ),
        Rule(
            "This disagrees: 5-10 times in all experiments but MAE pre-training and LSTM.",
            f"{README}, tips for experiments",
            factors=(5, 10),
        ),
    ),
    "instruction-tuning": (Rule("2-4 times AdamW's, less than elsewhere.", ISSUE.format(43), factors=(2, 4)),),
    "diffusion": (Rule("Twice AdamW's to be careful; larger may work.", ISSUE.format(48), factors=(2,)),),
    "mae-pretraining": (
        Rule("Not 5-10 times: MAE pre-training is one of the two exceptions.", f"{README}, tips for experiments"),
        Rule(
            "The released runs take 2.0e-3 (ViT-B) and 2.2e-3 (ViT-L) at batch 4096, where MAE's AdamW takes 2.4e-3: "
            "0.83 and 0.92 times.",
            "github.com/sail-sg/Adan, CV/MAE, beside facebookresearch/mae, PRETRAIN.md",
            factors=(2.0e-3 / 2.4e-3, 2.2e-3 / 2.4e-3),
        ),
    ),
    "lstm": (
        Rule(
            "Not 5-10 times: LSTM is one of the two exceptions. The rate used was not published.",
            f"{README}, tips for experiments",
        ),
    ),
    "rl": (
        Rule(
            "3e-4, which is the usual rate of Adam in PPO: once that.",
            "second-hand: DeepUnity's Adan.cs on the paper; thu-ml/tianshou, examples/mujoco/mujoco_ppo.py",
            factors=(1,),
        ),
        Rule(
            "This disagrees: 5-10 times in all experiments but MAE pre-training and LSTM.",
            f"{README}, tips for experiments",
            factors=(5, 10),
        ),
    ),
}

_DECAY_EXCEPTIONS = Rule(
    "Released settings that depart from 0.02: ConvNeXt-T 0.04, MAE fine-tuning 5e-3 and 1e-3, GPT-2 0.05.",
    "argument files and logs in github.com/sail-sg/Adan",
)
WEIGHT_DECAY = {
    "general": (
        Rule("0.02 by default.", f"{README}, usage (--weight-decay)", values=(0.02,)),
        Rule("0.02 for all tasks but BERT fine-tuning (0.01) and reinforcement learning (0).", FASTXTEND),
        Rule("This disagrees: a tenth of Adam's.", ISSUE.format(29), factors=(0.1,)),
        _DECAY_EXCEPTIONS,
    ),
    "language-model": (
        Rule("One of 0.02, 0.05 and 0.1 (GPT-2 on OpenWebText).", ISSUE.format(40), values=(0.02, 0.05, 0.1)),
        Rule("The released GPT-2 run takes 0.05.", "github.com/sail-sg/Adan, gpt2/"),
    ),
    "bert-fine-tuning": (
        Rule(
            "The released runs take 0.01 (0.001 for QNLI and QQP) where Adam had 0.1.",
            "github.com/sail-sg/Adan, NLP/BERT/config",
            values=(0.01, 0.001),
        ),
    ),
    "instruction-tuning": (Rule("Half of AdamW's.", ISSUE.format(43), factors=(0.5,)),),
    "mae-pretraining": (
        Rule("0.02 in the released runs, where AdamW has 0.05.", "github.com/sail-sg/Adan, CV/MAE", values=(0.02,)),
    ),
    "rl": (Rule("0.", FASTXTEND, values=(0.0,)),),
}
WARMUP = {
    "general": (
        Rule("Twice as long as for Adam.", ISSUE.format(29), factors=(2,)),
        Rule("Longer, together with a larger rate, if Adan falls behind late in training.", ISSUE.format(39)),
    ),
    "language-model": (Rule("A larger share of training than for AdamW; no number is named.", ISSUE.format(40)),),
    "bert-fine-tuning": (
        Rule(
            "As long as for their Adam in the released runs.", "github.com/sail-sg/Adan, NLP/BERT/config", factors=(1,)
        ),
        Rule("This disagrees: twice as long as for Adam.", ISSUE.format(29), factors=(2,)),
    ),
    "mae-pretraining": (
        Rule(
            "40 (ViT-B) and 80 epochs (ViT-L) in the released runs, where AdamW has 40.",
            "github.com/sail-sg/Adan, CV/MAE, beside facebookresearch/mae, PRETRAIN.md",
            factors=(1, 2),
        ),
    ),
}
_TUNE = Rule(
    "Adan is robust to its betas; for better results tune beta3 first, then beta1. They are not AdamW's, and the paper "
    "writes 1 - beta: its (0.02, 0.08, 0.01) is (0.98, 0.92, 0.99).",
    f"{README}, tips for experiments and usage; {ISSUE.format(4)}",
)
BETA3 = {
    "general": (
        Rule("0.99 to begin with.", f"{README}, usage (default)", values=(0.99,)),
        _TUNE,
        Rule("Tuned between 0.9 and 0.999.", FASTXTEND, values=(0.9, 0.999)),
        Rule("0.999 if Adan falls behind late in training.", ISSUE.format(39), values=(0.999,)),
    ),
    "language-model": (
        Rule("0.95 or 0.999.", ISSUE.format(40), values=(0.95, 0.999)),
        Rule("The released GPT-2 run takes 0.95.", "github.com/sail-sg/Adan, gpt2/"),
    ),
    "bert-fine-tuning": (
        Rule(
            "0.99 (0.999 for MNLI) in the released runs.",
            "github.com/sail-sg/Adan, NLP/BERT/config",
            values=(0.99, 0.999),
        ),
        _TUNE,
    ),
    "diffusion": (
        Rule("0.99 to begin with.", f"{README}, usage (default)", values=(0.99,)),
        _TUNE,
        Rule("0.95 is worth a try.", ISSUE.format(48), values=(0.95,)),
    ),
    "mae-pretraining": (Rule("0.9 in the released runs.", "github.com/sail-sg/Adan, CV/MAE", values=(0.9,)), _TUNE),
}
BETA1 = {
    "general": (
        Rule("0.98 to begin with.", f"{README}, usage (default)", values=(0.98,)),
        Rule("Tuned between 0.9 and 0.98, after beta3.", FASTXTEND, values=(0.9,)),
    ),
    "language-model": (Rule("0.98: no need to tune it.", ISSUE.format(40), values=(0.98,)),),
}
BETA2 = {
    "general": (Rule("0.92, to which Adan is the most robust.", f"{README}, tips for experiments", values=(0.92,)),),
    "language-model": (Rule("0.92: no need to tune it.", ISSUE.format(40), values=(0.92,)),),
    "bert-fine-tuning": (
        Rule(
            "0.92 (MNLI, SST-2) or 0.99 (the others).", "github.com/sail-sg/Adan, NLP/BERT/config", values=(0.92, 0.99)
        ),
    ),
    "diffusion": (
        Rule("0.92, to which Adan is the most robust.", f"{README}, tips for experiments", values=(0.92,)),
        Rule("Larger, 0.95 or 0.98, if the loss falls slowly at first.", ISSUE.format(48), values=(0.95, 0.98)),
    ),
}
EPS = (Rule("1e-8, also where Adam had another (BERT: 1e-6).", f"{README}, usage (default); NLP/BERT", values=(1e-8,)),)
NO_PROX = {
    "general": (
        Rule(
            "False in all experiments of the paper: the proximal form of weight decay.",
            f"github.com/sail-sg/Adan, CV/timm/README.md; {ISSUE.format(12)}",
            values=(False,),
        ),
    ),
    "diffusion": (
        Rule("False in all experiments of the paper.", "github.com/sail-sg/Adan, CV/timm/README.md", values=(False,)),
        Rule("True as the last thing to try.", ISSUE.format(48), values=(True,)),
    ),
}
