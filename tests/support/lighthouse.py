"""Lighthouse over every page: ``python -m tests.support.lighthouse [--desktop]``.

Prints a table of scores (0 to 100) and a JSON line; exit status 1 where one is below 95. It runs Google's
Lighthouse by npx, which fetches it the first time (190 MB): that is why no test does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.support import chromium
from tests.support.page_states import ABSENT, FAILED, READY, TOO_BIG, WEIGHTS, World

PACKAGE = "lighthouse@12.8.2"
CATEGORIES = ("performance", "accessibility", "best-practices")
LEAST = 95


def main() -> None:
    """Measure all pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--desktop", action="store_true", help="a desktop instead of a slow phone")
    is_desktop = parser.parse_args().desktop
    with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as world:
        pages = {
            "dashboard": world.busy.url,
            "model, absent": f"{world.busy.url}/models/{ABSENT}",
            "model, loading": f"{world.busy.url}/models/{WEIGHTS}",
            "model, ready": f"{world.busy.url}/models/{READY}",
            "model, failed": f"{world.busy.url}/models/{FAILED}",
            "history": f"{world.busy.url}/history",
            "load, ready": world.load_page(READY),
            "load, failed": world.load_page(TOO_BIG),
            "load, running": world.load_page(WEIGHTS),
            "API": f"{world.busy.url}/docs",
        }
        scores = {name: _measure(url, is_desktop, Path(folder)) for name, url in pages.items()}
    table = Table("Page", *CATEGORIES, "what costs points", title=f"{PACKAGE}, scores")
    for name, (points, costs) in scores.items():
        table.add_row(name, *(str(points[category]) for category in CATEGORIES), ", ".join(costs))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    print(json.dumps({"lighthouse": {name: points for name, (points, _) in scores.items()}}))
    sys.exit(any(point < LEAST for points, _ in scores.values() for point in points.values()))


def _measure(url: str, is_desktop: bool, folder: Path) -> tuple[dict[str, int], list[str]]:
    """The scores of one page, and the audits that it does not pass."""
    report = folder / "report.json"
    command = ["npx", "--yes", PACKAGE, url, "--quiet", "--output=json", f"--output-path={report}"]
    command += [f"--only-categories={','.join(CATEGORIES)}", "--chrome-flags=--headless=new --no-sandbox"]
    command += ["--preset=desktop"] if is_desktop else []
    subprocess.run(command, check=True, env=os.environ | {"CHROME_PATH": chromium.path()})
    result: dict[str, Any] = json.loads(report.read_text())
    points = {name: round(100 * result["categories"][name]["score"]) for name in CATEGORIES}
    weighed = {
        audit["id"]
        for name in CATEGORIES
        for audit in result["categories"][name]["auditRefs"]
        if audit["weight"] > 0
    }
    audits = result["audits"].items()
    return points, [name for name, audit in audits if name in weighed and (audit["score"] or 0) < 0.9]


if __name__ == "__main__":
    main()
