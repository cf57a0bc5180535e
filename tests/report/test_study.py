"""The pages, tables and figures of a study: what they say for each outcome, and that they say it again."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import examples
import ppo_records
import pytest
import yaml

from experiments.report import pages_beside, study, study_figures, study_words
from experiments.report import tables as report_tables
from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.verdict import bootstrap
from experiments.verdict.student_t import Interval

ROOT = Path(__file__).resolve().parents[2]
LOW, HIGH = [float(value) for value in range(1, 11)], [float(value) + 200.5 for value in range(10)]
CLAIM = "The claim of Figure 2 that Adan is better"


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take longer than all the rest: only the tests of figures draw them."""
    for draw in ("learning_curves", "over_games"):
        monkeypatch.setattr(study_figures, draw, lambda result, protocol, stem: [])


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder of its own, and a study of three games in two protocols."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    monkeypatch.setattr(bootstrap, "REPETITIONS", 100)
    monkeypatch.setattr(study, "load_study", lambda name: ppo_records.STUDY)
    monkeypatch.setattr(report_tables, "load_study", lambda name: ppo_records.STUDY)
    for module in (report_tables, pages_beside):
        monkeypatch.setattr(module, "tuning_names", lambda: [])
    (tmp_path / "random_policy").mkdir()
    measured = {"games": {game: {"mean_return": 0.0} for game in ppo_records.GAMES.values()}}
    (tmp_path / "random_policy" / "returns.yaml").write_text(yaml.safe_dump(measured))
    return tmp_path


def published(results, **values):
    """Write the runs of `published`, `hopper=(adam, adan)`, and return all records."""
    records = []
    for name, pair in values.items():
        for optim, finals in zip(("adam", "adan"), pair, strict=True):
            records += ppo_records.arm(finals, f"ppo_{name}", optim)
    for record in records:
        ppo_records.write(results, record)
    return records


def tuned(results, hopper, diverged=()):
    """Write the grid of Hopper (both optimizers: the highest rate is best) and its tuned runs; at the rates `diverged`
    a non-finite loss ended the first tuning run of Adan."""
    records = []
    for optim, finals in zip(("adam", "adan"), hopper, strict=True):
        for rate in (1e-4, 3e-4, 1e-3):
            values = [rate * 1e5] * 2
            records += ppo_records.arm(
                values, "ppo_hopper", optim, 100, epochs=147, rate=None if rate == 3e-4 else rate
            )
        records += ppo_records.arm(finals, "ppo_hopper", optim, 200, rate=1e-3)
    for record in records:
        if (record["optim"], record["seed"]) == ("adan", 100) and record["config"]["optim"]["lr"] in diverged:
            record["status"] = "diverged"
    for record in records:
        ppo_records.write(results, record)
    return records


def quoted(results, records):
    """The paragraph to quote."""
    study.make_study("f2", records)
    [line] = [line for line in (results / "figure2.md").read_text().splitlines() if line.startswith("> ")]
    return line.removeprefix("> ")


def test_nothing_run_is_said_to_be_untested(undrawn, results):
    text = quoted(results, [])
    assert text == f"{CLAIM} has not been tested here yet."
    page = (results / "figure2.md").read_text()
    assert page.count("Verdict on the claim: **not run**.") == 2 and "- Nothing has been run yet." in page


def test_a_refuted_claim(undrawn, results):
    text = quoted(results, published(results, hopper=(HIGH, LOW), swimmer=(LOW, HIGH)))
    assert text.startswith(
        f"{CLAIM} was tested by P, the probability that a run with Adan ends higher than one with Adam."
    )
    assert (
        "With the rate 3e-4 it is refuted: P was 0.00 [0.00, 0.28] in Hopper (worse); P was 1.00 [0.72, 1.00] in "
        "Swimmer (better) (2 of 3 games judged, 10 runs of each)." in text
    )
    assert "One further protocol has no game judged yet." in text
    page = (results / "figure2.md").read_text()
    assert "| P(Adan > Adam), 98.3 % interval |" in page and "| -200 [-20" in page
    assert "- 40 runs behind the verdicts, 20.0 core-hours" in page


def test_one_better_game_does_not_support_a_claim_about_every_game(undrawn, results):
    text = quoted(results, published(results, hopper=(LOW, HIGH)))
    assert "With the rate 3e-4 it is open: 1 of 3 games in favour: P was 1.00 [0.72, 1.00] in Hopper (better)" in text


def test_all_games_judged(undrawn, results):
    runs = {game: (LOW, HIGH) for game in ("hopper", "swimmer", "halfcheetah")}
    text = quoted(results, published(results, **runs))
    assert "With the rate 3e-4 it is supported: P was 1.00 [0.72, 1.00] in HalfCheetah" in text
    assert "**supported (all three games judged): better in" in (results / "figure2.md").read_text()


def test_no_difference_says_what_could_have_been_found(undrawn, results):
    text = quoted(results, published(results, hopper=(LOW, [value + 0.5 for value in LOW])))
    assert "it is open: 0 of 3 games in favour: no difference was detected in Hopper (1 of 3 games judged" in text
    page = (results / "figure2.md").read_text()
    assert "**More seeds.** 10 runs of each find, in 80 of 100 repetitions, a P of 0.87 or more" in page
    assert "HalfCheetah and Swimmer are missing." in page


def test_the_paragraph_to_quote_is_short_when_everything_has_been_judged(undrawn, results):
    games = {"hopper": (HIGH, LOW), "swimmer": (LOW, HIGH), "halfcheetah": (LOW, LOW[::-1])}
    text = quoted(results, published(results, **games) + tuned(results, (LOW, HIGH)))
    assert len(text.split()) <= 150


def test_protocols_that_disagree(undrawn, results):
    records = published(results, hopper=(HIGH, LOW)) + tuned(results, (LOW, HIGH))
    text = quoted(results, records)
    assert (
        "With the rate 3e-4 it is refuted: " in text and "With chosen rates it is open: 1 of 3 games in favour" in text
    )
    page = (results / "figure2.md").read_text()
    assert (
        "Recipe `cleanrl` of the experiments, 488 epochs, seeds 0 to 9; each optimizer's learning rate is the" in page
    )
    assert "among 1e-4, 3e-4 and 1e-3 by the mean final return of seeds 100 and 101, in runs of 147 epochs" in page
    assert "better rate may lie beyond it: Hopper (Adam 1e-3, the highest), Hopper (Adan 1e-3, the highest)." in page
    assert "The limit of this shows in Hopper (Adam: 1e-3 ended at 5.50 [" in page
    assert "3e-4 had ended at 205 on other seeds)." in page
    for text in (page, (results / "tables" / "f2.md").read_text()):
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
        assert ["game", "", "1e-4", "3e-4", "1e-3", "chosen"] in lines
        assert ["Hopper", "Adam", "10.0", "30.0", "100", "1e-3 (highest of the grid)"] in lines
        assert ["Swimmer", "Adam", "-", "-", "-", "not run"] in lines


def test_a_replication_stands_beside_its_protocol(undrawn, results, monkeypatch):
    again = replace(
        ppo_records.PUBLISHED,
        name="again",
        title="fresh seeds",
        exps=["ppo_hopper"],
        seeds=list(range(300, 310)),
        replicates="published",
    )
    made = replace(ppo_records.STUDY, stages=[ppo_records.PUBLISHED, again], changes=["a rule was changed"])
    monkeypatch.setattr(study, "load_study", lambda name: made)
    records = published(results, hopper=(HIGH, LOW))
    for optim, values in (("adam", LOW), ("adan", [value + 0.5 for value in LOW])):
        records += ppo_records.arm(values, "ppo_hopper", optim, 300)
    for record in records[20:]:
        ppo_records.write(results, record)
    text = quoted(results, records)
    assert "A replication on fresh seeds (seeds 300 to 309) gave P = 0.55 [0.31, 0.76] in Hopper, p = 0.7" in text
    page = (results / "figure2.md").read_text()
    assert "### Replication: fresh seeds" in page and "Verdict on the claim: **refuted (one of three games" in page
    assert "so that the first result is not confirmed at 5 %." in page
    assert "## What was changed after results had been seen" in page and "- a rule was changed" in page
    rows = list(csv.DictReader(io.StringIO((results / "tables" / "f2.csv").read_text())))
    assert sum(row["stage"] == "again" for row in rows) == 20


def test_rates_that_failed_are_named(undrawn, results):
    study.make_study("f2", tuned(results, (LOW, HIGH), diverged=[1e-3]))
    page = (results / "figure2.md").read_text()
    assert "because a run of the grid diverged: Hopper (Adan 1e-3: ppo_hopper-adan-147-cleanrloptim.lr=0.001-" in page
    assert "Every rate of the grid failed" not in page
    tables = (results / "tables" / "f2.md").read_text()
    assert "| 1e-4 | 3e-4 | 1e-3             | chosen " in tables
    assert "| 10.0 | 30.0 | no finite return | 3e-4 " in tables


def test_a_grid_whose_rates_all_failed_is_said_to_have(undrawn, results):
    study.make_study("f2", tuned(results, (LOW, HIGH), diverged=[1e-4, 3e-4, 1e-3]))
    page = (results / "figure2.md").read_text()
    assert "Every rate of the grid failed, so that there is none to run at: Hopper (Adan)." in page
    assert "| none, every rate failed " in (results / "tables" / "f2.md").read_text()


def test_records_of_runs_that_count_updates_lie_beside_a_study_s(undrawn, results):
    records = published(results, hopper=(HIGH, LOW))
    other = {key: value for key, value in records[0].items() if key != "epochs"} | {"exp": "bert_glue", "updates": 60}
    assert quoted(results, [other, *records]) == quoted(results, records)


def test_what_the_recipes_source_reached_stands_beside(undrawn, results, monkeypatch):
    number = examples.reported(id="REF-1", value=7337.4, note="+- 1508.2", dataset="Hopper-v3", metric="return")
    examples.write_facts(results, [number], [])
    stage = replace(ppo_records.PUBLISHED, reported={"ppo_hopper": "REF-1"})
    monkeypatch.setattr(study, "load_study", lambda name: replace(ppo_records.STUDY, stages=[stage]))
    study.make_study("f2", published(results, hopper=(LOW, HIGH)))
    assert (
        "- Hopper: the source's own runs of Adam reached at their best 7337 (+- 1508.2; return; Hopper-v3; REF-1), the "
        "highest mean of the curve here is 5.50." in (results / "figure2.md").read_text()
    )


def test_a_game_whose_seeds_have_not_all_ended_is_shown_and_not_judged(undrawn, results):
    text = quoted(results, published(results, hopper=(LOW, HIGH[:9])))
    assert text == f"{CLAIM} has not been tested here yet."
    page = (results / "figure2.md").read_text()
    assert "**not run: not all planned seeds have ended yet in Hopper**" in page
    assert "| unfinished, 10 of 10 and 9 of 10 |" in page


def test_csv_has_a_row_for_every_seed_with_its_run(undrawn, results):
    records = published(results, hopper=(HIGH, LOW)) + tuned(results, (LOW, HIGH))
    study.make_study("f2", records)
    rows = list(csv.DictReader(io.StringIO((results / "tables" / "f2.csv").read_text())))
    assert sorted(row["run"] for row in rows) == sorted(record["run"] for record in records)
    [row] = [row for row in rows if (row["stage"], row["optim"], row["seed"]) == ("published", "adan", "3")]
    assert (row["game"], row["lr"], float(row["final"]), row["verdict"]) == ("Hopper", "0.0003", LOW[3], "worse")
    assert float(row["curve_mean"]) == pytest.approx(LOW[3] * (0.375 + 0.75) / 2)
    assert {row["verdict"] for row in rows if row["stage"] == "tuning"} == {""}


def test_the_same_records_give_the_same_bytes(results):
    records = published(results, hopper=(HIGH, LOW), swimmer=(LOW, HIGH))
    first = {path: path.read_bytes() for path in study.make_study("f2", records)}
    again = {path: path.read_bytes() for path in study.make_study("f2", records[::-1])}
    assert [path.name for path in again if again[path] != first.get(path)] == []
    assert sorted(path.name for path in first) == [
        "f2.csv",
        "f2.md",
        "f2.tex",
        "figure2.md",
        "figure2_published.png",
        "figure2_published.svg",
        "figure2_published_over_games.png",
        "figure2_published_over_games.svg",
    ]
    linked = (results / "figure2.md").read_text()
    assert all(f"(figures/{path.name})" in linked for path in first if path.suffix == ".png")


def test_a_game_with_one_optimizer_is_drawn_and_nothing_without_runs(results):
    assert study.make_study("f2", []) and not (results / "figures").exists()
    written = study.make_study("f2", published(results, hopper=(LOW[:1], [])))
    assert [path.name for path in written if path.parent.name == "figures"] == [
        "figure2_published.png",
        "figure2_published.svg",
    ]


def test_latex_tables_are_balanced(undrawn, results):
    study.make_study("f2", published(results, hopper=(HIGH, LOW), swimmer=(LOW, HIGH)))
    text = (results / "tables" / "f2.tex").read_text()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert text.count(r"\label{tab:f2-published-") == len(set(text.split(r"\label{")[1:])) == 3


def test_the_index_counts_games_judged(undrawn, results, monkeypatch):
    published(results, hopper=(HIGH, LOW))
    monkeypatch.setattr(report_tables, "table_names", lambda: [])
    monkeypatch.setattr(report_tables, "study_names", lambda: ["f2"])
    assert results / "figure2.md" in report_tables.make_tables()
    index = (results / "tables" / "README.md").read_text()
    assert "| published | 1 of 3       | refuted   |" in index and "| tuned     | 0 of 3       | not run   |" in index


def test_without_the_extra_a_study_is_left_out_unless_it_is_asked_for(undrawn, results, monkeypatch):
    monkeypatch.setattr(report_tables, "table_names", lambda: [])
    monkeypatch.setattr(report_tables, "study_names", lambda: ["f2"])
    monkeypatch.setattr(study, "find_spec", lambda name: None if name == "rliable" else "found")
    written = [results / "imported.md", results / "claims.md", results / "tables" / "README.md"]
    assert report_tables.make_tables() == written
    with pytest.raises(UserError, match=r"f2: not written, .* need rliable: pip install -e '\.\[figures\]'"):
        report_tables.make_tables(["f2"])


BLOCKED = """
import sys
from importlib.machinery import PathFinder

class Blocked(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = {"rliable", "matplotlib", "pandas"}
        return None if name.partition(".")[0] in found else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Blocked if finder is PathFinder else finder for finder in sys.meta_path]
sys.argv = ["make_tables.py", *sys.argv[1:]]
sys.path[0] = "scripts"  # as for a script
import runpy
runpy.run_path("scripts/make_tables.py", run_name="__main__")
"""


def test_the_script_writes_the_tables_and_says_what_it_leaves_out(tmp_path):
    """In a process that cannot import the extra, whatever is installed here."""
    environment = {"ADAN_RESULTS": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin"}
    command = [sys.executable, "-c", BLOCKED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "f2: not written, its statistics and figures need rliable and matplotlib: pip install" in done.stderr
    assert (tmp_path / "tables" / "t4.md").exists() and not (tmp_path / "tables" / "f2.md").exists()
    assert "[f2](f2.md)" in (tmp_path / "tables" / "README.md").read_text()
    named = subprocess.run([*command, "f2"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert named.returncode == 2 and named.stderr.startswith("error: f2: not written")


@pytest.mark.parametrize(
    ("value", "ends", "text"),
    [
        (1620.4, Interval(1486.1, 1754.2), "1620 [1486, 1754]"),
        (-349.0, Interval(-717.0, 19.8), "-349 [-717, +20]"),
        (0.507, Interval(-0.18, 1.19), "+0.51 [-0.18, +1.19]"),
        (-4.9, None, "-4.90"),
    ],
)
def test_numbers_beside_their_interval(value, ends, text):
    assert study_words.with_interval(value, ends, sign="+" in text) == text


def test_words():
    assert study_words.listed([]) == "" and study_words.listed(["A"]) == "A"
    assert study_words.listed(["A", "B", "C"]) == "A, B and C"
    assert (study_words.counted(1, "game"), study_words.counted(8, "game")) == ("one game", "eight games")
    assert [study_words.rate(value) for value in (3e-4, 1e-3, 2.5e-3, None)] == ["3e-4", "1e-3", "2.5e-3", "-"]
    assert study_words.seeds([2, 0, 1]) == "seeds 0 to 2" and study_words.seeds([3, 7]) == "seeds 3 and 7"
    assert (study_words.p_value(0.0004), study_words.p_value(0.0235)) == ("< 0.001", "0.024")
