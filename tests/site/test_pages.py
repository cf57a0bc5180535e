"""The site says what the records say, every link leads somewhere, and only what has changed is written again."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import vl_convert

from experiments.report.collect import results
from experiments.report.identity import DARK_GROUND, IDENTITIES, LIGHT_GROUND
from experiments.schema import names, paths
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError
from experiments.schema.overrides import parse
from experiments.schema.resolve import resolve
from experiments.schema.tables import load_table
from experiments.site import charts
from experiments.site.build import build
from experiments.verdict.records import sealed_records
from experiments.verdict.reported import load_reported

RUN = "vit_small-adan-mini-0290ddf10fb2-seed0"


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key in ("href", "src") and value:
                self.found.append(value)
            elif key == "id":
                self.ids.append(value)


@pytest.fixture
def at_site(site, site_results, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", site_results)
    monkeypatch.setattr(paths, "RUNS", site_results.parent / "runs")
    return site


def test_every_link_of_every_page_leads_to_a_file_of_the_site_or_out_of_it(site):
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    assert len(pages) > 40
    for path, links in pages.items():
        assert len(links.ids) == len(set(links.ids)), path.name
        for link in links.found:
            if re.match(r"https?:|data:", link):
                continue
            file, _, fragment = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.is_file(), f"{path.name}: {link}"
            if fragment and target.suffix == ".html" and "=" not in fragment:
                assert fragment in pages[Path(target)].ids, f"{path.name}: {link}"


def test_no_page_asks_a_network_for_anything(site):
    for path in (*site.rglob("*.html"), site / "assets" / "site.css"):
        text = path.read_text()
        assert not re.search(r"""(src=|@import|url\()["']?(https?:)?//""", text), path.name
        assert "fetch(" not in text and '<link rel="stylesheet" href="http' not in text


def test_the_front_page_with_all_it_loads_is_far_below_a_megabyte(site):
    text = (site / "index.html").read_text()
    loaded = [link for link in Links(text).found if link.startswith("assets/") and not link.endswith(".txt")]
    assert sorted(loaded) == ["assets/site.css", "assets/site.js"]  # and not Vega, which is 0.9 MB
    assert sum((site / name).stat().st_size for name in ("index.html", *loaded)) < 300_000


def test_a_table_page_has_the_reported_numbers_and_ours(at_site):
    table = load_table("t4")
    found = results(table, "mini", sealed_records(), load_reported())
    text = (at_site / "tables" / "t4.html").read_text()
    measured = [result for result in found if result.mean is not None]
    assert measured
    for result in measured:
        assert f"<strong>{result.mean:.4g}</strong>" in text
    assert text.count('class="reported" title=') == len([cell for cell in table.cells if cell.reported])
    assert "mini scale: not a reproduction" in text


def test_a_run_page_has_every_setting_its_source_and_a_command_that_composes_to_the_same_run(at_site):
    text = (at_site / "runs" / f"{RUN}.html").read_text()
    record = next(one for one in sealed_records() if one["run"] == RUN)
    command = html.unescape(re.search(r"python run.py (.*)</code>", text)[1])
    [point] = parse(command.split())
    assert config_digest(resolve(point.choices, point.values)) == record["config_digest"]
    assert f"git checkout {record['code']['revision']}" in text
    for key, fact in record["config"]["provenance"].items():
        assert f">{key}<" in text and html.escape(fact["source"], quote=True).replace("&#x27;", "&#39;") in text, key
    assert record["hardware"]["cpu"] in text and "84.7" in text
    assert "at update 5,250 of 5,250" in text and "built-in" not in text


def test_what_two_runs_are_compared_by_is_their_configuration(at_site):
    text = (at_site / "data" / f"{RUN}.js").read_text()
    name, _, rest = text.removeprefix("site.run(").partition(", ")
    settings = json.loads(rest.rstrip().removesuffix(");"))
    assert json.loads(name) == RUN and settings["optim.lr"] == 0.002 and settings["result.top1"] == 84.7


def test_a_second_build_writes_nothing_and_a_changed_record_only_what_shows_it(at_site, site_results):
    assert build().written == []
    record = site_results / "records" / RUN / "record.json"
    before = record.read_text()
    try:
        record.write_text(before.replace('"peak_memory_bytes": 8', '"peak_memory_bytes": 9'))
        assert {path.name for path in build().written} == {f"{RUN}.html"}
    finally:
        record.write_text(before)


def test_runs_under_way_are_on_the_front_page(at_site):
    run = paths.RUNS / "vit_small-lamb-mini-000000000000-seed9"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    events = '{"kind":"begin","total_updates":500}\n{"kind":"train","update":250}\n{"kind":"tr'  # being written
    (run / "events.jsonl").write_text(events)
    build()
    assert f"{run.name}: update 250 of 500" in (at_site / "index.html").read_text()


def test_a_folder_that_holds_something_else_is_not_written_to(tmp_path):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(UserError, match="holds something else than a site"):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("altair", "jinja2"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from importlib import util
find = util.find_spec
util.find_spec = lambda name: None if name in ("altair", "jinja2") else find(name)
sys.argv = ["scripts/report.py"]
import runpy
sys.path.insert(0, "scripts")
runpy.run_path("scripts/report.py", run_name="__main__")
"""


def test_without_the_extra_the_command_says_what_to_install():
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, cwd=paths.ROOT)
    assert done.returncode == 2
    assert done.stderr == "error: the site needs altair, jinja2: pip install -e '.[site]'\n"


def drawn(site: Path, page: str) -> list[dict]:
    found = re.findall(r'class="spec">(.*?)</script>', (site / page).read_text())
    return [json.loads(text.replace("<\\/", "</")) for text in found]


@pytest.mark.parametrize(
    "page", ["experiments/vit_small.html", "studies/f2.html", "tables/t7.html", f"runs/{RUN}.html"]
)
def test_every_chart_is_one_that_vega_lite_understands(site, page):
    found = drawn(site, page)
    assert found
    for spec in found:
        rows = [{"optimizer": "adan", "source": charts.MEASURED, "update": 1, "kind": "measured"}]
        svg = vl_convert.vegalite_to_svg({**spec, "width": 300, "datasets": {**spec.get("datasets", {}), "rows": rows}})
        assert svg.startswith("<svg")


def test_a_curve_is_the_mean_over_seeds_with_the_lowest_and_the_highest(site):
    text = (site / "studies" / "f2.html").read_text()
    last = []
    for seed in (0, 1):
        log = site.parent / "records" / f"ppo_halfcheetah-adam-paper-390c5a63e8f7-seed{seed}" / "events.jsonl"
        events = [json.loads(line) for line in log.read_text().splitlines()]
        last.append([event for event in events if event["kind"] == "evaluation"][-1])
    one, other = last
    mean = (one["episode_return"] + other["episode_return"]) / 2
    assert f"<td>{one['update']}</td><td>{mean}</td>" in text


def test_a_chart_without_data_is_none_and_a_long_line_keeps_its_ends():
    assert charts.lines("i", "t", [], "update", "top1", "mini") is None
    rows = [{"optimizer": "adan", "update": n, "top1": float(n), "source": charts.MEASURED} for n in range(5000)]
    rows[1234]["top1"], rows[4321]["top1"] = 9e9, -9e9
    chart = charts.lines("i", "t", rows, "update", "top1", "mini")
    assert len(chart.rows) <= charts.MOST_POINTS and {9e9, -9e9} <= {row["top1"] for row in chart.rows}
    assert (chart.rows[0]["update"], chart.rows[-1]["update"]) == (0, 4999)
    assert "thinned" in chart.description and chart.spec["title"]["text"].startswith("mini scale: not the paper")


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_optimizer_has_a_look_of_its_own_that_can_be_seen_on_its_ground():
    assert set(names.choices("optim")) <= set(IDENTITIES)
    assert len({(one.light, one.mark, one.dash) for one in IDENTITIES.values()}) == len(IDENTITIES)
    for name, one in IDENTITIES.items():
        assert contrast(one.light, LIGHT_GROUND) >= 3 and contrast(one.dark, DARK_GROUND) >= 3, name
