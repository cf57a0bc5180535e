"""Charts as Vega-Lite specifications, made by Altair: each with its data as rows and its meaning in words.

An optimizer has the colour and the mark of `report.identity`. What was measured is drawn solid, what authors released
dashed, what a paper printed dotted or hollow. At another scale than the paper's a chart says so in its subtitle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from experiments.report.identity import identity
from experiments.schema.scales import PAPER

MOST_POINTS = 240  # of one line
HEIGHT = 260
MEASURED, RELEASED = "measured here", "released by the authors"
Rows = list[dict[str, Any]]
ROWS = alt.NamedData("rows")
LEGEND = alt.Legend(title=None, orient="top", columns=3, symbolOpacity=1, symbolStrokeWidth=2)
_checked: dict[tuple[Any, ...], dict[str, Any]] = {}
SOURCES = alt.StrokeDash("source:N", scale=alt.Scale(domain=[MEASURED, RELEASED], range=[[1, 0], [6, 4]]), legend=None)


@dataclass(frozen=True)
class Chart:
    """`spec` is Vega-Lite's without theme and data; `rows` are the data, `description` what can be seen, with units."""

    id: str
    title: str
    description: str
    spec: dict[str, Any]
    rows: Rows = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns of `rows`, in order."""
        return list(dict.fromkeys(key for row in self.rows for key in row))


def warning(scale: str) -> str:
    """The words on a chart that shows nothing of the paper's experiment."""
    return "" if scale == PAPER else f"{scale} scale: not the paper's experiment"


def lines(
    id: str,
    title: str,
    rows: Rows,
    x: str,
    y: str,
    scale: str,
    rule: tuple[str, float] | None = None,
    log: bool = False,
) -> Chart | None:
    """Mean lines of optimizers over `x`, with a band where rows have `low` and `high`; rows whose `source` is
    `RELEASED` are dashed; `rule` is a printed number. None without rows."""
    if not rows:
        return None
    kept = [row for group in _by(rows, "optimizer", "source") for row in thinned(group, y)]
    points = len(kept) <= MOST_POINTS

    def drawn() -> Any:
        horizontal = alt.X(f"{x}:Q", title=x, scale=alt.Scale(zero=False))
        vertical, colour = alt.Y(f"{y}:Q", title=y, scale=alt.Scale(zero=False)), _colours(kept)
        base = alt.Chart(ROWS)
        measured = base.transform_filter(f"datum.source != '{RELEASED}'")
        layers = [
            measured.mark_area(opacity=0.16).encode(horizontal, alt.Y("low:Q"), alt.Y2("high:Q"), colour),
            base.mark_line(strokeWidth=2).encode(
                horizontal, vertical, colour, SOURCES, alt.Detail("source:N"), tooltip=_tooltips(kept)
            ),
        ]
        if points:
            marks = measured.mark_point(filled=True, size=36)
            layers.append(marks.encode(horizontal, vertical, colour, _shapes(kept), tooltip=_tooltips(kept)))
        if rule:
            printed = alt.Chart(alt.NamedData("printed")).mark_rule(strokeDash=[1, 3], strokeWidth=2)
            layers.append(
                printed.encode(alt.Y("reported:Q"), tooltip=[alt.Tooltip("label:N"), alt.Tooltip("reported:Q")])
            )
        return alt.layer(*layers)

    seeds = max((row.get("seeds", 1) for row in rows), default=1)
    description = (
        f"{title}: {y} against {x} for {', '.join(dict.fromkeys(row['optimizer'] for row in rows))}"
        + (f"; bands from the lowest to the highest of up to {seeds} seeds" if seeds > 1 else "")
        + (f"; the dotted rule is {rule[0]}, {rule[1]:g}" if rule else "")
        + (f"; lines are thinned to {MOST_POINTS} points" if len(kept) < len(rows) else "")
        + "."
    )
    spec = _spec(("lines", x, y, points, rule is not None), kept, drawn, scale)
    if rule:
        spec["datasets"] = {"printed": [{"label": rule[0], "reported": rule[1]}]}
    return Chart(id, title, description, spec, kept)


def response(id: str, title: str, rows: Rows, metric: str, scale: str) -> Chart | None:
    """Value of every trial against its learning rate; a row has `optimizer`, `lr`, `value`, `chosen`, `plateau`."""
    if not rows:
        return None
    base = alt.Chart(ROWS)
    x = alt.X("lr:Q", title="learning rate", scale=alt.Scale(type="log"))
    y, colour = alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False)), _colours(rows)
    layers = [
        base.transform_filter("datum.plateau").mark_line(strokeWidth=9, opacity=0.25).encode(x, y, colour),
        base.mark_line(strokeWidth=2).encode(x, y, colour, _dashes(rows)),
        base.mark_point(filled=True, size=50).encode(x, y, colour, _shapes(rows), tooltip=_tooltips(rows)),
        base.transform_filter("datum.chosen").mark_point(size=260, filled=False, strokeWidth=2).encode(x, y, colour),
    ]
    description = (
        f"{title}: {metric} of every trial against its learning rate, for "
        f"{', '.join(dict.fromkeys(row['optimizer'] for row in rows))}. A ring is the chosen trial, a thick stretch "
        "the neighbouring rates within 2 % of it."
    )
    return Chart(id, title, description, _spec(("response", metric), rows, lambda: alt.layer(*layers), scale), rows)


def bars(id: str, title: str, rows: Rows, value: str, scale: str) -> Chart | None:
    """One bar an optimizer, with its mark at the end: time to target."""
    if not rows:
        return None
    base = alt.Chart(ROWS)
    x, y = alt.X(f"{value}:Q", title=value), alt.Y("optimizer:N", title=None, sort="x")
    layers = [
        base.mark_bar(opacity=0.35, height=12).encode(x, y, _colours(rows, legend=False)),
        base.mark_point(filled=True, size=70).encode(
            x, y, _colours(rows, legend=False), _shapes(rows, legend=False), tooltip=_tooltips(rows)
        ),
    ]
    optimizers = list(dict.fromkeys(row["optimizer"] for row in rows))
    text = f"{title}: {value} for {', '.join(optimizers)}; shorter is faster."
    spec = _spec(("bars", value), rows, lambda: alt.layer(*layers), scale, 28 * len(optimizers) + 20)
    return Chart(id, title, text, spec, rows)


def effects(id: str, title: str, rows: Rows, scale: str) -> Chart | None:
    """Differences with their intervals, one line each, zero marked; a row has `comparison`, `optimizer`, `difference`,
    `low`, `high`, `verdict`."""
    if not rows:
        return None
    base = alt.Chart(ROWS)
    y = alt.Y("comparison:N", title=None, sort=None, axis=alt.Axis(labelLimit=320))
    layers = [
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeDash=[3, 3]).encode(alt.X("zero:Q")),
        base.mark_rule(strokeWidth=2).encode(
            alt.X("low:Q", title="difference (more is better)"), y, _colours(rows, legend=False), x2="high:Q"
        ),
        base.mark_point(filled=True, size=80).encode(
            alt.X("difference:Q"), y, _colours(rows, legend=False), _shapes(rows, legend=False), tooltip=_tooltips(rows)
        ),
    ]
    text = f"{title}: difference of means with its interval for each comparison; right of zero the first is better."
    spec = _spec(("effects",), rows, lambda: alt.layer(*layers), scale, 30 * len(rows) + 20)
    return Chart(id, title, text, spec, rows)


def batch_sizes(id: str, title: str, rows: Rows, metric: str, scale: str) -> Chart | None:
    """Value against batch size; a row has `optimizer`, `batch_size`, `value` and `kind`: measured or reported."""
    if not rows:
        return None
    base = alt.Chart(ROWS)
    x = alt.X("batch_size:Q", title="batch size", scale=alt.Scale(type="log", base=2))
    y, colour = alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False)), _colours(rows)
    measured, reported = (base.transform_filter(f"datum.kind == '{kind}'") for kind in ("measured", "reported"))
    layers = [
        reported.mark_line(strokeDash=[2, 4], strokeWidth=1.5).encode(x, y, colour),
        reported.mark_point(filled=False, size=80).encode(x, y, colour, _shapes(rows), tooltip=_tooltips(rows)),
        measured.mark_line(strokeWidth=2).encode(x, y, colour),
        measured.mark_point(filled=True, size=80).encode(x, y, colour, _shapes(rows), tooltip=_tooltips(rows)),
    ]
    text = f"{title}: {metric} against batch size; hollow and dotted is what the paper prints, solid what was measured."
    return Chart(id, title, text, _spec(("batches", metric), rows, lambda: alt.layer(*layers), scale), rows)


def steps(id: str, title: str, rows: Rows, x: str, y: str, scale: str) -> Chart | None:
    """A performance profile: the share of problems solved within a factor of the fastest."""
    if not rows:
        return None
    base = alt.Chart(ROWS)
    layers = base.mark_line(interpolate="step-after", strokeWidth=2.5).encode(
        alt.X(f"{x}:Q", title=x, scale=alt.Scale(zero=False)),
        alt.Y(f"{y}:Q", title=y, scale=alt.Scale(domain=[0, 1])),
        _colours(rows),
        _dashes(rows),
        tooltip=_tooltips(rows),
    )
    spec = _spec(("steps", x, y), rows, lambda: alt.layer(layers), scale)
    return Chart(id, title, f"{title}: {y} against {x}.", spec, rows)


def thinned(rows: Rows, y: str) -> Rows:
    """At most `MOST_POINTS` rows of a line: evenly, with the first, the last, the lowest and the highest."""
    if len(rows) <= MOST_POINTS:
        return rows
    step = (len(rows) - 1) / (MOST_POINTS - 3)
    kept = {round(number * step) for number in range(MOST_POINTS - 2)}
    order = sorted(range(len(rows)), key=lambda place: rows[place][y])
    return [rows[place] for place in sorted(kept | {order[0], order[-1]})]


def finite(rows: Iterable[dict[str, Any]], key: str) -> Rows:
    """The rows whose `key` is a finite number: JSON has no other."""
    return [row for row in rows if isinstance(row.get(key), int | float) and math.isfinite(row[key])]


def _spec(
    shape: tuple[Any, ...], rows: Rows, drawn: Callable[[], Any], scale: str, height: int = HEIGHT
) -> dict[str, Any]:
    """The specification, whose data the page fills in under the name `rows`. Altair checks each shape of chart once:
    for the same fields and optimizers only its size differs."""
    key = (*shape, *_optimizers(rows), *rows[0])
    if key not in _checked:
        _checked[key] = drawn().to_dict()
        _checked[key].pop("config", None)  # the page has a theme of its own, light or dark
    spec = {**_checked[key], "width": "container", "height": height}
    if said := warning(scale):  # the page prints the title, and this stays with the chart wherever it is copied
        spec |= {"title": {"text": said, "anchor": "start"}, "usermeta": {"scale": scale}}
    return spec


def _by(rows: Rows, *keys: str) -> list[Rows]:
    groups: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return list(groups.values())


def _optimizers(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["optimizer"] for row in rows))


def _colours(rows: Rows, legend: bool = True) -> alt.Color:
    names = _optimizers(rows)
    scale = alt.Scale(domain=names, range=[identity(name).light for name in names])
    return alt.Color("optimizer:N", scale=scale, legend=LEGEND if legend else None)


def _shapes(rows: Rows, legend: bool = True) -> alt.Shape:
    names = _optimizers(rows)
    scale = alt.Scale(domain=names, range=[identity(name).mark for name in names])
    return alt.Shape("optimizer:N", scale=scale, legend=LEGEND if legend else None)


def _dashes(rows: Rows) -> alt.StrokeDash:
    names = _optimizers(rows)
    return alt.StrokeDash(
        "optimizer:N", scale=alt.Scale(domain=names, range=[list(identity(name).dash) for name in names]), legend=None
    )


def _tooltips(rows: Sequence[dict[str, Any]]) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(
            f"{key}:{'Q' if isinstance(value, int | float) and not isinstance(value, bool) else 'N'}", title=key
        )
        for key, value in rows[0].items()
    ]
