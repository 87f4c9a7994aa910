"""Rebuild results/report/index.html, one page of every table, from the records in results/runs."""

import argparse
import inspect
import os
import sys
from pathlib import Path

from vicinal import records
from vicinal.errors import RunError
from vicinal.report import figures
from vicinal.report.page import page
from vicinal.tables import table, verdicts
from vicinal.tables.outcome import Joined, Records


def main() -> None:
    """Write the page; say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, help="folder of the page (default: RESULTS/report)")
    arguments = parser.parse_args()
    out = arguments.out or arguments.results / "report"
    folder = arguments.results / "runs"
    try:
        found = records.load(folder)
    except RunError as error:
        sys.exit(f"report.py: {error}")
    joined = Records(found)
    every = [Joined.of(each, joined) for each in table.load_all()]
    drawn = figures.load(arguments.results / "figures")
    rules = inspect.getdoc(verdicts) or ""
    runs = Path(os.path.relpath(folder, out)).as_posix()
    out.mkdir(parents=True, exist_ok=True)
    target = out / "index.html"
    target.write_text(page(every, found, rules, drawn, runs), encoding="utf-8")
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
