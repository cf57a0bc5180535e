"""How an optimizer looks, wherever it is drawn: one colour for light and one for dark grounds, a mark and a dash.

Every colour has at least 3:1 against its ground (WCAG 2.2, 1.4.11). Optimizers that are often drawn together differ in
lightness as well as in hue, and no two have colour, mark and dash in common, so that the colour-blind and a print in
grey tell them apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

LIGHT_GROUND, DARK_GROUND = "#ffffff", "#14171a"


class Identity(NamedTuple):
    """Hex colours on a light and on a dark ground, a mark by its name in Vega, and the lengths of dash and gap."""

    light: str
    dark: str
    mark: str
    dash: tuple[int, ...]

    @property
    def matplotlib(self) -> dict[str, Any]:
        """The same as keywords of matplotlib's `plot`."""
        return {"color": self.light, "marker": _MARKS[self.mark], "linestyle": _DASHES[self.dash]}


SOLID, DASHED, DOTTED, MIXED = (1, 0), (6, 3), (2, 2), (8, 2, 2, 2)
_MARKS = {
    "circle": "o",
    "square": "s",
    "cross": "P",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "triangle-right": ">",
    "triangle-left": "<",
}
_DASHES = {SOLID: "-", DASHED: "--", DOTTED: ":", MIXED: "-."}

ORANGE, BLUE, NAVY, GREY, GREEN, PINK, GOLD, VIOLET, RED, TEAL = (
    ("#d55e00", "#ff9a4d"),
    ("#0072b2", "#56b4e9"),
    ("#002f5f", "#a9c9ff"),
    ("#5a5a5a", "#c4c4c4"),
    ("#00704f", "#3ddc97"),
    ("#a83279", "#f29ccb"),
    ("#7a5a00", "#f0c419"),
    ("#5b3fa8", "#b8a4ff"),
    ("#8c1d18", "#ff9088"),
    ("#1f6f78", "#7fd6dd"),
)
IDENTITIES = {
    "adan": Identity(*ORANGE, "triangle-up", SOLID),
    "adamw": Identity(*BLUE, "circle", DASHED),
    "adam": Identity(*NAVY, "square", DOTTED),
    "sgd": Identity(*GREY, "diamond", MIXED),
    "lamb": Identity(*GREEN, "triangle-down", SOLID),
    "adabelief": Identity(*PINK, "cross", DASHED),
    "lion": Identity(*GOLD, "triangle-right", DOTTED),
    "padam": Identity(*VIOLET, "triangle-left", MIXED),
    "yogi": Identity(*RED, "circle", SOLID),
    "radam": Identity(*TEAL, "square", DASHED),
    "nadam": Identity(*NAVY, "triangle-up", DASHED),
    "nadamw": Identity(*BLUE, "triangle-down", DOTTED),
    "amsgrad": Identity(*NAVY, "cross", SOLID),
    "amsgradw": Identity(*BLUE, "diamond", MIXED),
    "adabound": Identity(*PINK, "square", DOTTED),
    "adamod": Identity(*VIOLET, "circle", DASHED),
    "adagrad": Identity(*RED, "diamond", DASHED),
    "adadelta": Identity(*RED, "triangle-up", DOTTED),
    "adafactor": Identity(*TEAL, "cross", DOTTED),
    "rmsprop": Identity(*TEAL, "triangle-left", SOLID),
    "lars": Identity(*GREEN, "square", MIXED),
    "muon": Identity(*GOLD, "diamond", SOLID),
    "sam": Identity(*GREY, "triangle-down", DASHED),
    "fromage": Identity(*GREY, "cross", DOTTED),
    "msvag": Identity(*GOLD, "circle", MIXED),
    "msvag_adabelief": Identity(*GOLD, "cross", DASHED),
}
OTHER = Identity(*GREY, "circle", SOLID)


def identity(optimizer: str) -> Identity:
    """How `optimizer` looks; one of an installed package that is not known here is grey."""
    return IDENTITIES.get(optimizer, OTHER)
