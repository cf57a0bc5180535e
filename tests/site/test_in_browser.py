"""Pages in a real Chromium, opened from the folder: no errors, charts drawn, usable by keyboard, no serious fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

RUN = "vit_small-adan-mini-0290ddf10fb2-seed0"
PAGES = (
    *("index.html", "claims.html", "tables/index.html", "tables/t7.html", "experiments/index.html"),
    *("experiments/vit_small.html", "runs/index.html", f"runs/{RUN}.html", "compare.html", "fair.html"),
    *("profiles.html", "imported.html"),
    *("studies/f2.html", "more/index.html"),
)


@contextmanager
def opened(browser, site: Path, page: str, width: int = 1280, scheme: str = "light") -> Iterator:
    """The page, and at the end that it said no error."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    errors: list[str] = []
    tab = context.new_page()
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    file, _, fragment = page.partition("#")
    tab.goto((site / file).as_uri() + (f"#{fragment}" if fragment else ""))
    yield tab
    context.close()
    assert errors == []


def drawn_charts(tab) -> int:
    """Charts are drawn when they come into view: bring each into view."""
    figures = tab.locator("figure.chart")
    for number in range(figures.count()):
        figures.nth(number).scroll_into_view_if_needed()
        figures.nth(number).locator("svg").wait_for(timeout=10_000)
    return figures.count()


def serious_faults(tab) -> list[tuple[str, str]]:
    """What axe-core calls serious or critical, with the first element that has it."""
    from axe_playwright_python.sync_playwright import Axe

    faults = Axe().run(tab, options={"preload": False}).response["violations"]  # it may not read files by itself
    return [(one["id"], one["nodes"][0]["html"]) for one in faults if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_without_errors_fits_a_phone_and_has_no_serious_fault(browser, site, page):
    with opened(browser, site, page, width=360, scheme="dark") as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        assert serious_faults(tab) == []
    with opened(browser, site, page) as tab:
        assert serious_faults(tab) == []


DRAWN = [("experiments/vit_small.html", 2), (f"runs/{RUN}.html", 3), ("studies/f2.html", 1)]


@pytest.mark.parametrize(("page", "least"), DRAWN)
def test_every_chart_of_a_page_is_drawn_in_both_schemes(browser, site, page, least):
    for scheme in ("light", "dark"):
        with opened(browser, site, page, scheme=scheme) as tab:
            assert drawn_charts(tab) >= least


def test_a_filter_hides_rows_and_says_how_many_are_left(browser, site):
    with opened(browser, site, "runs/index.html") as tab:
        rows = tab.locator("tbody tr")
        everything = rows.count()
        tab.get_by_label("find").fill("vit_small adan")
        left = tab.locator("tbody tr:visible")
        assert 0 < left.count() < everything
        assert all("vit_small-adan" in text for text in left.locator("th").all_inner_texts())
        assert tab.locator("output").inner_text() == f"{left.count()} of {everything} shown"
        tab.get_by_label("find").fill("")
        tab.get_by_label("scale").select_option("paper")
        assert set(tab.locator("tbody tr:visible td:nth-child(2)").all_inner_texts()) == {"paper"}


def test_a_table_is_sorted_by_keyboard_and_says_so(browser, site):
    with opened(browser, site, "tables/t7.html") as tab:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to content"
        button = tab.get_by_role("button", name="reported")
        button.focus()
        tab.keyboard.press("Enter")
        texts = tab.locator("table.sortable tbody tr td:nth-child(5)").all_inner_texts()
        found = [float(text.strip("◇\xa0 ")) for text in texts if any(letter.isdigit() for letter in text)]
        assert len(found) > 5 and found == sorted(found)
        assert tab.locator("th[aria-sort=ascending]").inner_text().startswith("reported")
        tab.keyboard.press("Enter")
        assert tab.locator("th[aria-sort=descending]").count() == 1


def test_two_runs_stand_side_by_side_with_what_differs_on_top(browser, site):
    with opened(browser, site, f"compare.html#a={RUN}&b=resnet18-sgd-mini") as tab:
        first = tab.locator("#differences tbody tr").first
        first.wait_for()
        assert first.locator("th").inner_text().startswith("≠ ")
        rows = [row.split("\t") for row in tab.locator("#differences tbody tr").all_inner_texts()]
        assert ["≠ optim.name", '"adan"', '"sgd"'] in rows
        assert "differ" in tab.locator("output").inner_text()


def test_a_chart_can_be_downloaded_as_csv(browser, site):
    with opened(browser, site, f"runs/{RUN}.html") as tab:
        figure = tab.locator("figure.chart").first
        figure.locator("summary").click()
        with tab.expect_download() as download:
            figure.locator("a.csv").click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert lines[0] == "optimizer,update,top1,source" and lines[-1].startswith("adan,5250,84.7,")
