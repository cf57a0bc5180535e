"""How heavy the report's front page is with many records behind it: `python scripts/bench_report.py --records 10000`.

Copies records of this checkout under other seeds into a temporary results folder, makes the front page, and opens it in
headless Chromium (where playwright and Chromium are installed) as a reader does, from the folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import checkout  # noqa: F401

from experiments.schema import paths


def main() -> int:
    """Print seconds to make the page, its bytes, and seconds until it is loaded (median of five)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    count = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder:
        here, paths.RESULTS = paths.RESULTS, Path(folder)
        copy_records(here / "records", paths.RESULTS / "records", count)
        began = time.perf_counter()
        page = front_page(paths.RESULTS / "site")
        print(f"{count:,} records: front page made in {time.perf_counter() - began:.1f} s")
        loaded = [page, *sorted((page.parent / "assets").glob("site.*"))]
        print(f"{sum(path.stat().st_size for path in loaded):,} bytes with style and script")
        if seconds := loading(page):
            print(f"loaded in {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    return 0


def copy_records(source: Path, target: Path, count: int) -> None:
    """Write `count` records, those of `source` in turn, each under a seed of its own."""
    known = [json.loads(path.read_text()) for path in sorted(source.glob("*/record.json"))]
    for number, record in enumerate(islice(cycle(known), count)):
        seed = 1000 + number
        name = f"{record['run'].rpartition('-seed')[0]}-seed{seed}"
        content = {**record, "seed": seed, "run": name, "record_digest": f"{number:064}"}
        (target / name).mkdir(parents=True)
        (target / name / "record.json").write_text(json.dumps(content))


def front_page(site: Path) -> Path:
    """The front page with its style and script, as `scripts/report.py` writes them."""
    from experiments.site import pages
    from experiments.site.model import Model

    site.mkdir(parents=True)
    shutil.copytree(paths.ROOT / "experiments" / "site" / "assets", site / "assets")
    (site / "index.html").write_text(pages.front(Model()).render(), encoding="utf-8")
    return site / "index.html"


def loading(page: Path) -> list[float]:
    """Seconds until the browser's load event, of five visits; none without a browser."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("not loaded: that needs playwright and Chromium")
        return []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        seconds = []
        for _ in range(5):
            tab = browser.new_page()
            tab.goto(page.as_uri())
            seconds.append(tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)
            tab.close()
        browser.close()
    return seconds


if __name__ == "__main__":
    sys.exit(main())
