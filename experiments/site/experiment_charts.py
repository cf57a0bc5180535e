"""Which charts a page shows: of an experiment, a run, a table, a study, the fair comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.report import profiles_page
from experiments.report.collect import Result
from experiments.schema.experiment_file import read_experiment
from experiments.schema.scales import PAPER
from experiments.schema.studies import Study
from experiments.schema.tables import Table
from experiments.site import charts
from experiments.site.charts import Chart
from experiments.site.model import Model, RunView, bands, groups, released_curves
from experiments.verdict import performance_profile
from experiments.verdict import records as of_record
from experiments.verdict.curves import COMPARED

Section = dict[str, Any]


def of_experiment(model: Model, exp: str) -> list[Section]:
    """A section for each scale, recipe and budget: the metric's curves of all optimizers with bands over seeds, the
    authors' beside them at paper scale, the rate, the norms."""
    sections: list[Section] = []
    metrics = (read_experiment(exp).get("settings") or {}).get("metrics") or {}
    for (scale, recipe, budget, batch), runs in groups(model.runs_of(exp)).items():
        plain = [run for run in runs if not of_record.overrides(run.record)]
        tuned = [run for run in runs if run not in plain]
        metric = _metric(runs, metrics)
        if not metric:
            continue
        rows = _curves(plain, metric)
        if scale == PAPER:
            rows += _released(exp, recipe, budget, metric)
        key = charts_id(exp, scale, recipe, budget, batch)
        title = f"{exp}, {scale} scale, recipe {recipe}, budget {budget}, batch {batch}"
        drawn = [
            charts.lines(
                f"{key}-curve", f"{metric}: {title}", rows, "update", metric, scale, _reported(model, exp, plain)
            ),
            charts.lines(f"{key}-rate", f"learning rate: {title}", _rates(plain), "update", "lr", scale),
            charts.lines(
                f"{key}-norm", f"gradient norm by epoch: {title}", _norms(plain), "epoch", "gradient_norm", scale
            ),
        ]
        sections.append(_section(scale, title, drawn, len(plain), len(tuned)))
    done = [section["title"] for section in sections if section["scale"] == PAPER]
    for recipe, budget in dict.fromkeys((recipe, budget) for recipe, _, budget, _ in released_curves(exp)):
        title = f"{exp}, {PAPER} scale, recipe {recipe}, budget {budget}"
        metric = next(iter(metrics), "")
        rows = _released(exp, recipe, budget, metric)
        if rows and not any(other.startswith(title) for other in done):
            key = charts_id(exp, PAPER, recipe, budget)
            chart = charts.lines(
                f"{key}-curve", f"{metric}: {title}", rows, "epoch" if "epoch" in rows[0] else "update", metric, PAPER
            )
            sections.append(_section(PAPER, title, [chart], 0, 0))
    return sections


def of_run(run: RunView) -> list[Chart]:
    """What one run's events say: the first metrics that it reports, and its loss."""
    found = []
    scale, optim = run.record["scale"], run.record["optim"]
    wanted = [("evaluation", name) for name in list(run.record["summary"])[:2]] + [("train", "loss")]
    for kind, metric in wanted:
        rows = [
            {"optimizer": optim, "update": event["update"], metric: event[metric], "source": charts.MEASURED}
            for event in run.events(kind)
            if metric in event
        ]
        rows = charts.finite(rows, metric)
        found.append(charts.lines(f"run-{metric}", f"{metric} of {run.name}", rows, "update", metric, scale))
    return [chart for chart in found if chart is not None]


def of_table(table: Table, by_scale: dict[str, list[Result]]) -> list[Chart]:
    """The batch-size figure, where a table's columns are batch sizes."""
    if "batch_size" not in table.columns:
        return []
    found = []
    for scale, results in by_scale.items():
        rows = []
        for result in results:
            head = {"optimizer": result.cell.optim, "batch_size": result.cell.batch_size}
            if result.mean is not None:
                rows.append({**head, "value": result.mean, "kind": "measured"})
            if result.reported is not None and scale == PAPER:
                rows.append({**head, "value": result.reported.value, "kind": "reported"})
        rows = charts.finite(rows, "value")
        title = f"{table.title}: {table.metric} by batch size, {scale} scale"
        found.append(charts.batch_sizes(f"{table.name}-{scale}-batches", title, rows, table.metric, scale))
    return [chart for chart in found if chart is not None]


def of_study(study: Study, model: Model) -> list[Chart]:
    """Returns against steps, a chart for each game of each judged stage, and the response over rates of a stage that
    has a list of them."""
    found: list[Chart | None] = []
    for stage in study.stages:
        for exp in stage.exps:
            runs = [run for run in model.runs_of(exp) if _of_stage(run, stage)]
            title = f"{exp}: {stage.title or stage.name}"
            if isinstance(stage.lr, list):
                found.append(_rate_response(f"{study.name}-{stage.name}-{exp}", title, runs, study.metric))
                continue
            rows = [
                row
                for optim in stage.optims
                for row in _band_rows([run for run in runs if run.record["optim"] == optim], optim, study.metric)
            ]
            found.append(charts.lines(f"{study.name}-{stage.name}-{exp}", title, rows, "update", study.metric, PAPER))
    return [chart for chart in found if chart is not None]


def of_fair_comparison(tuning: Any, found: Sequence[Any]) -> list[Chart]:
    """For each experiment the differences that were judged, and the response over rates."""
    drawn: list[Chart | None] = []
    for one in found:
        rows = [
            {
                "comparison": f"{tuning.subject}, {each.budget} budget - {each.other.candidate.optim}",
                "optimizer": each.other.candidate.optim,
                "difference": each.difference,
                "low": each.interval.low,
                "high": each.interval.high,
                "verdict": each.kind,
            }
            for each in one.compared
            if each.difference is not None and each.interval is not None
        ]
        drawn.append(charts.effects(f"{one.exp}-{one.scale}-effects", f"{one.exp}, {one.scale} scale", rows, one.scale))
        trials = [
            {
                "optimizer": arm.candidate.optim,
                "lr": rate,
                "value": value,
                "chosen": bool(arm.chosen and arm.chosen.settings["optim.lr"] == rate),
                "plateau": bool((flat := arm.plateau()) and flat.low <= rate <= flat.high),
            }
            for arm in one.arms
            for rate, value in arm.response()
        ]
        metric = one.arms[0].trial_metric
        title = f"{one.exp}, {one.scale} scale: every trial"
        drawn.append(charts.response(f"{one.exp}-{one.scale}-response", title, trials, metric, one.scale))
    return [chart for chart in drawn if chart is not None]


def of_profiles(tuning: Any, found: Sequence[Any], records: Sequence[dict[str, Any]]) -> list[Chart]:
    """Of every experiment of a tuning the time to its target, and the performance profile over them, in updates."""
    timed = profiles_page.collect(found, records)
    drawn: list[Chart | None] = []
    for one in timed:
        rows = [{"optimizer": optim, "updates": time.updates} for optim, time in one.times.items()]
        title = f"Updates until {one.metric} {one.target:.2f}: {one.exp}, {one.scale} scale (no bar: never)"
        chart = charts.bars(
            f"{one.exp}-{one.scale}-target", title, charts.finite(rows, "updates"), "updates", one.scale
        )
        drawn.append(chart)
    for scale in dict.fromkeys(one.scale for one in timed):
        times = profiles_page.problem_times([one for one in timed if one.scale == scale], "updates")
        rows = [
            {"optimizer": optim, "factor": tau, "share": share}
            for optim, corners in performance_profile.steps(times).items()
            for tau, share in corners
        ]
        title = f"Performance profile, {scale} scale: share of experiments within a factor of the fewest updates"
        drawn.append(charts.steps(f"profile-{scale}", title, rows, "factor", "share", scale))
    return [chart for chart in drawn if chart is not None]


def charts_id(*parts: Any) -> str:
    """An id of an element: letters, digits and dashes."""
    return "-".join("".join(c if c.isalnum() else "-" for c in str(part)) for part in parts)


def _section(scale: str, title: str, drawn: Sequence[Chart | None], runs: int, tuned: int) -> Section:
    return {"scale": scale, "title": title, "charts": [one for one in drawn if one], "runs": runs, "tuned": tuned}


def _metric(runs: Sequence[RunView], metrics: dict[str, Any]) -> str:
    there = {key for run in runs for event in run.events("evaluation")[:1] for key in event}
    of = [metric.get("of") or name for name, metric in metrics.items() if isinstance(metric, dict)]
    named = [name for run in runs[:1] for name in run.record["summary"]]
    return next((name for name in (*of, *named) if name in there), "")


def _curves(runs: Sequence[RunView], metric: str) -> charts.Rows:
    optims = dict.fromkeys(run.record["optim"] for run in runs)
    return [
        row
        for optim in optims
        for row in _band_rows([run for run in runs if run.record["optim"] == optim], optim, metric)
    ]


def _band_rows(runs: Sequence[RunView], optim: str, metric: str) -> charts.Rows:
    rows = [{"optimizer": optim, **row, "source": charts.MEASURED} for row in bands(runs, "evaluation", metric)]
    return charts.finite(rows, metric)


def _rates(runs: Sequence[RunView]) -> charts.Rows:
    first = {run.record["optim"]: run for run in reversed(runs)}
    return [
        {"optimizer": optim, "update": event["update"], "lr": event["lr"], "source": charts.MEASURED}
        for optim, run in first.items()
        for event in run.events("train")
        if "lr" in event
    ]


def _norms(runs: Sequence[RunView]) -> charts.Rows:
    first = {run.record["optim"]: run for run in reversed(runs)}
    rows = [
        {"optimizer": optim, "epoch": line["epoch"], "gradient_norm": _norm(line), "source": charts.MEASURED}
        for optim, run in first.items()
        for line in run.clock
        if line.get("kind") == "epoch" and _norm(line) is not None
    ]
    return charts.finite(rows, "gradient_norm")


def _norm(line: dict[str, Any]) -> float | None:
    norm = line.get("gradient_norm")
    return norm.get("mean") if isinstance(norm, dict) else norm


def _released(exp: str, recipe: str, budget: Any, metric: str) -> charts.Rows:
    rows = []
    for name, optim, count, curve in released_curves(exp):
        column = next((one.column for one in COMPARED if one.metric == metric and one.column in curve.columns), None)
        if (name, count) != (recipe, budget) or column is None:
            continue
        x = "epoch" if curve.x_name == "epoch" else "update"
        rows += [
            {"optimizer": optim, x: at, metric: value, "source": charts.RELEASED}
            for at, value in zip(curve.x, curve.columns[column], strict=True)
        ]
    return charts.finite(rows, metric)


def _reported(model: Model, exp: str, runs: Sequence[RunView]) -> tuple[str, float] | None:
    """The number that a table prints for this experiment's first optimizer, for runs at paper scale."""
    if not runs or runs[0].record["scale"] != PAPER:
        return None
    for table, by_scale in model.tables:
        for result in by_scale[PAPER]:
            same = (result.cell.exp, result.cell.optim) == (exp, runs[0].record["optim"])
            if same and result.reported is not None and result.cell.epochs in (None, runs[0].record.get("epochs")):
                return f"reported in {table.name} for {result.cell.optim}", result.reported.value
    return None


def _of_stage(run: RunView, stage: Any) -> bool:
    record = run.record
    same = (record["recipe"], record.get("epochs"), record["scale"]) == (stage.recipe, stage.epochs, PAPER)
    if not same or record["seed"] not in stage.seeds or record["optim"] not in stage.optims:
        return False
    changed = any(text.startswith("optim.lr=") for text in of_record.overrides(record))
    return not changed if stage.lr is None else True


def _rate_response(id: str, title: str, runs: Sequence[RunView], metric: str) -> Chart | None:
    rows = [
        {
            "optimizer": run.record["optim"],
            "lr": run.record["config"]["optim"]["lr"],
            "value": of_record.value(run.record, metric),
            "chosen": False,
            "plateau": False,
        }
        for run in runs
    ]
    kept = sorted(charts.finite(rows, "value"), key=lambda row: (row["optimizer"], row["lr"]))
    return charts.response(id, title, kept, metric, PAPER)
