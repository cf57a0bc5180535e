"""Margins: how far from a reported number a result may truly lie and still be called a reproduction of it.

They are ours, and fixed before any cell was judged. One rule made them: the differences that the paper (or the
field) reads as one method beating another must lie outside, and what reruns by the same authors differ by, inside.
"""

from __future__ import annotations

from dataclasses import dataclass

from experiments.verdict.reported import Reported


@dataclass(frozen=True)
class Margin:
    """`size` in the unit of the metric, or as a `share` of the reported number, and why it is that."""

    reason: str
    size: float = 0.0
    share: float = 0.0

    def around(self, value: float) -> float:
        """The margin around the reported `value`, in its unit."""
        return self.size or self.share * abs(value)


@dataclass(frozen=True)
class Rule:
    """The margin of every metric whose name begins with one of `metrics`, on the data sets of that name."""

    metrics: tuple[str, ...]
    dataset: str
    margin: Margin

    def holds_for(self, reported: Reported) -> bool:
        """Whether it is this number's: `WikiText-2` is no beginning of `WikiText-20`, `ImageNet` is one of
        `ImageNet-1k`."""
        follows = reported.dataset.removeprefix(self.dataset)
        named = not self.dataset or (follows != reported.dataset and not follows[:1].isalnum())
        return named and reported.metric.startswith(self.metrics)


SMALL = Margin("a small GLUE task: seeds alone differ by points (its development set has 277 to 1,500 examples)", 3.0)
LARGE = Margin("a large GLUE task: differences of a point are read as progress there", 1.0)
PERPLEXITY = Margin("optimizers are told apart by one or two points of perplexity on a small text", 1.0)
RETURN = Margin("a fifth of the baseline's return is what reinforcement learning reads as a gain", share=0.2)
PPL = ("test_ppl", "perplexity", "ppl")
MARGINS = (
    Rule(("top1",), "ImageNet", Margin("Adan's gains in Tables 2 to 4 are 0.0 to 2.2 points", 0.5)),
    Rule(("top1",), "CIFAR-10", Margin("optimizers differ by a few tenths of a point there", 0.3)),
    Rule(("top1",), "CIFAR-100", Margin("optimizers differ by one to eleven points there, read by eye to 0.2", 1.0)),
    Rule(PPL, "Penn Treebank", PERPLEXITY),
    Rule(PPL, "WikiText-2", PERPLEXITY),
    Rule(PPL, "WikiText-103", Margin("Table 9 tells optimizers apart by a few tenths to two points", 0.5)),
    Rule(("FID",), "", Margin("FID varies by some per cent with the samples that are drawn for it", share=0.05)),
    Rule(("box AP",), "COCO", Margin("reruns of one detector differ by some tenths of a point", 0.4)),
    Rule(("mean of",), "GLUE", Margin("the mean over tasks varies less than a task", 0.5)),
    *(Rule(("",), f"GLUE/{task}", LARGE) for task in ("MNLI", "QNLI", "QQP", "SST-2")),
    *(Rule(("",), f"GLUE/{task}", SMALL) for task in ("RTE", "CoLA", "STS-B", "MRPC")),
    Rule(("episode_return", "average episode return"), "", RETURN),
)


def margin_of(reported: Reported) -> Margin | None:
    """The margin of the metric and data set of a reported number; None where none is set, so that nothing of the kind
    can be called reproduced."""
    return next((rule.margin for rule in MARGINS if rule.holds_for(reported)), None)
