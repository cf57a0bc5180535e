"""Which pages the site has, and what each template is given."""

from __future__ import annotations

import functools
import json
import math
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jinja2
from markdown_it import MarkdownIt

from experiments.report.collect import Result
from experiments.report.grid import column_text
from experiments.schema import paths
from experiments.schema.scales import PAPER, SCALES
from experiments.schema.studies import load_study, study_names
from experiments.schema.tables import Table
from experiments.schema.typed import leaves, show
from experiments.site import experiment_charts
from experiments.site.model import Model, RunView, groups, pages_of_results
from experiments.verdict.judge import NOT_RUN

# Verdict -> letter in the map of cells: it can be read without its colour.
LETTERS = {
    "reproduced": "R",
    "better": "B",
    "worse": "W",
    "not reproduced with our settings": "N",
    "unstable": "U",
    "inconclusive": "I",
    "not comparable": "C",
    "no recipe here": "-",
    "not run": "·",
    "measured": "m",
}
MOST_EVALUATIONS = 30  # shown of one run; its events.jsonl has all


@dataclass(frozen=True)
class Page:
    """One file of the site: its path, the template, and what that is given."""

    path: str
    template: str
    title: str
    context: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The way from the page back to the front page's folder."""
        return "../" * self.path.count("/")

    def render(self) -> str:
        """The page's HTML."""
        return _environment().get_template(self.template).render(page=self, root=self.root, **self.context)


def all_pages(model: Model) -> Iterator[Page]:
    """Every page; the front page last, so that what it links to is there."""
    for table, by_scale in model.tables:
        yield _table(table, by_scale)
    for exp in model.experiments:
        yield _experiment(model, exp)
    for run in model.runs:
        yield _run(run)
        yield Page(f"data/{run.name}.js", "run_data.js.j2", run.name, {"run": run, "data": _data(run)})
    yield Page("tables/index.html", "tables.html.j2", "Tables", {"tables": model.tables, "counts": _counts(model)})
    yield Page("experiments/index.html", "experiments.html.j2", "Experiments", {"rows": _experiment_rows(model)})
    yield Page("runs/index.html", "runs.html.j2", "Runs", {"runs": model.runs, "scales": SCALES})
    yield Page("compare.html", "compare.html.j2", "Compare two runs", {"runs": model.runs})
    yield Page("claims.html", "claims.html.j2", "Claims", {"claims": _claims(model)})
    for tuning, found in model.fair:
        charts = experiment_charts.of_fair_comparison(tuning, found)
        context = {"markdown": _markdown("fair_comparison.md", "figures/"), "charts": charts}
        yield Page("fair.html", "markdown.html.j2", "The fair comparison", context)
        charts = experiment_charts.of_profiles(tuning, found, model.records)
        context = {"markdown": _markdown("performance_profiles.md", "figures/"), "charts": charts}
        yield Page("profiles.html", "markdown.html.j2", "Time to target", context)
    imported = {"markdown": _markdown("imported.md", "figures/"), "charts": []}
    yield Page("imported.html", "markdown.html.j2", "Imported results", imported)
    for name in study_names():
        study = load_study(name)
        page = "figure2.md" if name == "f2" else f"tables/{name}.md"
        charts = experiment_charts.of_study(study, model)
        context = {"markdown": _markdown(page, "../figures/"), "charts": charts}
        yield Page(f"studies/{name}.html", "markdown.html.j2", study.title, context)
    for path in pages_of_results():
        name = f"more/{path.parent.name}_{path.stem}.html"
        text = _render(path.read_text(encoding="utf-8"))
        yield Page(
            name, "markdown.html.j2", f"{path.parent.name.capitalize()}: {path.stem}", {"markdown": text, "charts": []}
        )
    more = [(f"{path.parent.name}_{path.stem}.html", path.parent.name, path.stem) for path in pages_of_results()]
    yield Page("more/index.html", "more.html.j2", "Conformance and benchmarks", {"more": more})
    yield front(model)


def front(model: Model) -> Page:
    """The front page."""
    return Page("index.html", "front.html.j2", "Does the optimizer paper hold up?", _front(model))


def _front(model: Model) -> dict[str, Any]:
    claims = _claims(model)
    words: dict[str, int] = {}
    for claim in claims:
        for row in claim["rows"]:
            if row.scale.startswith((PAPER, "-")):
                words[row.verdict] = words.get(row.verdict, 0) + 1
    maps = [_map(table, by_scale) for table, by_scale in model.tables]
    open_rows = [row for claim in claims for row in claim["rows"] if row.verdict.startswith(("open", NOT_RUN))]
    known = [row for row in open_rows if "no record here has measured" not in row.deciding and row.scale != "-"]
    return {
        "claims": claims,
        "judged": [claim for claim in claims if any(row.verdict != NOT_RUN for row in claim["rows"])],
        "unjudged": [claim for claim in claims if all(row.verdict == NOT_RUN for row in claim["rows"])],
        "words": words,
        "maps": maps,
        "counts": _counts(model),
        "cheapest": known[:12],
        "open_rows": len(open_rows),
        "runs": len(model.runs),
        "live": list(model.live())[:20],
        "letters": LETTERS,
        "fair": [(tuning, _paragraphs(tuning, found)) for tuning, found in model.fair],
        "python": platform.python_version(),
    }


def _paragraphs(tuning: Any, found: Any) -> list[str]:
    from experiments.report.fair_comparison import paragraph

    return [paragraph(tuning, scale, found) for scale in dict.fromkeys(one.scale for one in found)]


def _claims(model: Model) -> list[dict[str, Any]]:
    """The claims in order, each with its rows, one a scale."""
    found: dict[str, dict[str, Any]] = {}
    for row in model.claims:
        claim = found.setdefault(row.id, {"id": row.id, "says": row.says, "source": row.source, "rows": []})
        claim["rows"].append(row)
    return list(found.values())


def _counts(model: Model) -> dict[str, dict[str, int]]:
    """How many cells of each table, at paper scale, have each verdict."""
    counts: dict[str, dict[str, int]] = {}
    for table, by_scale in model.tables:
        own = counts.setdefault(table.name, {})
        for result in by_scale[PAPER]:
            own[result.verdict.kind] = own.get(result.verdict.kind, 0) + 1
    return counts


def _map(table: Table, by_scale: dict[str, list[Result]]) -> dict[str, Any]:
    """A table's cells as squares: at paper scale coloured by verdict, at others by whether they were measured."""
    strips = []
    for scale, found in by_scale.items():
        rows: dict[str, list[dict[str, Any]]] = {}
        for result in found:
            cell = result.cell
            kind = result.verdict.kind if scale == PAPER else ("measured" if result.mean is not None else NOT_RUN)
            label = table.row_labels.get(getattr(cell, table.rows), str(getattr(cell, table.rows)))
            rows.setdefault(label, []).append(
                {
                    "kind": kind,
                    "letter": LETTERS.get(kind, "?"),
                    "place": column_text(table, cell),
                    "value": result.mean,
                }
            )
        if scale == PAPER or any(cell["kind"] != NOT_RUN for row in rows.values() for cell in row):
            strips.append({"scale": scale, "rows": rows})
    return {"name": table.name, "title": table.title, "strips": strips}


def _table(table: Table, by_scale: dict[str, list[Result]]) -> Page:
    rows = [
        {
            "scale": scale,
            "optimizer": result.cell.optim,
            "label": table.row_labels.get(result.cell.optim, result.cell.optim),
            "exp": result.cell.exp,
            "place": column_text(table, result.cell),
            "reported": result.reported,
            "ours": result.mean,
            "interval": result.interval,
            "n": result.n,
            "seeds": result.seeds,
            "verdict": result.verdict.name if scale == PAPER else ("measured" if result.mean is not None else NOT_RUN),
            "kind": result.verdict.kind if scale == PAPER else ("measured" if result.mean is not None else NOT_RUN),
            "text": result.verdict.text,
            "runs": result.runs,
        }
        for scale, found in by_scale.items()
        for result in found
    ]
    charts = experiment_charts.of_table(table, by_scale)
    return Page(
        f"tables/{table.name}.html", "table.html.j2", table.title, {"table": table, "rows": rows, "charts": charts}
    )


def _experiment(model: Model, exp: str) -> Page:
    runs = model.runs_of(exp)
    return Page(
        f"experiments/{exp}.html",
        "experiment.html.j2",
        exp,
        {"exp": exp, "runs": runs, "sections": experiment_charts.of_experiment(model, exp), "groups": groups(runs)},
    )


def _experiment_rows(model: Model) -> list[dict[str, Any]]:
    rows = []
    for exp in model.experiments:
        runs = model.runs_of(exp)
        found = {scale: sum(run.record["scale"] == scale for run in runs) for scale in SCALES}
        rows.append({"exp": exp, "scales": found, "optimizers": sorted({run.record["optim"] for run in runs})})
    return rows


def _run(run: RunView) -> Page:
    record = run.record
    provenance = record["config"].get("provenance", {})
    settings = [
        {"key": key, "value": show(value), **_fact(provenance, key)}
        for key, value in leaves(record["config"])
        if not key.startswith(("provenance", "overrides", "disagreements"))
    ]
    evaluations = run.events("evaluation")
    shown = evaluations[-MOST_EVALUATIONS:]
    columns = list(dict.fromkeys(key for event in shown for key in event if key not in ("kind", "hash")))
    context = {
        "run": run,
        "record": record,
        "settings": settings,
        "evaluations": shown,
        "columns": columns,
        "hidden": len(evaluations) - len(shown),
        "others": [event for event in run.lines if event["kind"] not in ("evaluation", "train")],
        "starts": [line for line in run.clock if line.get("kind") not in ("epoch",)],
        "charts": experiment_charts.of_run(run),
        "files": _files_of(run),
    }
    return Page(f"runs/{run.name}.html", "run.html.j2", run.name, context)


def _fact(provenance: dict[str, Any], key: str) -> dict[str, str]:
    """Level and source of a setting: its own, or its section's."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        fact = provenance.get(".".join(parts[:length]))
        if isinstance(fact, dict) and "level" in fact:
            return {"level": fact["level"], "source": fact.get("source", "")}
    return {"level": "default", "source": ""}


def _files_of(run: RunView) -> list[tuple[str, str]]:
    """Pictures, videos and samples that the run left under `runs/`, as links from its page."""
    folder = paths.RUNS / run.name
    kinds = (".png", ".jpg", ".gif", ".webp", ".mp4", ".txt")
    found = sorted(path for path in folder.rglob("*") if path.suffix in kinds) if folder.is_dir() else []
    return [(path.name, path.resolve().as_uri()) for path in found]


def _data(run: RunView) -> str:
    """What the page that compares two runs reads of one: its settings and results, flat."""
    flat = {key: value for key, value in leaves(run.record["config"]) if not key.startswith("provenance")}
    outcome = {f"result.{name}": value.get(value["reported"]) for name, value in run.record["summary"].items()}
    flat |= outcome | {"status": run.record["status"], "revision": run.record["code"]["revision"]}
    return json.dumps(flat, default=str)


def _markdown(name: str, figures: str) -> str:
    """A page of results as HTML, its figures where the site has them."""
    path = paths.RESULTS / name
    if not path.exists():
        return "<p>Not written yet: <code>python scripts/make_tables.py</code></p>"
    return _render(path.read_text(encoding="utf-8").replace("](figures/", f"]({figures}"))


def _render(text: str) -> str:
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    html = re.sub(r'<a href="(?!https?:|#)([^"]*)">(.*?)</a>', r"\2 (<code>\1</code>)", html)  # not in the site
    html = html.replace("<pre>", '<pre tabindex="0" role="region" aria-label="Commands">')
    table = '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>'
    return html.replace("<table>", table).replace("</table>", "</table></div>")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("experiments.site", "templates"),
        autoescape=lambda name: bool(name and ".html" in name),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {"number": number, "slug": slug, "json": _json, "seconds": duration}
    environment.filters.update(filters)
    return environment


def number(value: Any) -> str:
    """A number in up to four digits after the point, `-` where there is none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return (
            f"{value:.4g}"
            if math.isfinite(value) and abs(value) < 1e4
            else f"{value:,.0f}"
            if math.isfinite(value)
            else str(value)
        )
    return f"{value:,}" if isinstance(value, int) else str(value)


def duration(seconds: float | None) -> str:
    """Seconds as `1 h 05 min`, `3 min 20 s` or `12 s`."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def slug(text: str) -> str:
    """A word for a class or an id."""
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())


def _json(value: Any) -> jinja2.utils.markupsafe.Markup:  # type: ignore[name-defined]
    """JSON for a script element: no `</` ends it."""
    from markupsafe import Markup

    return Markup(json.dumps(value, default=str, allow_nan=False).replace("</", "<\\/"))
