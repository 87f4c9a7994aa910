"""Write RESULTS/report/index.html: one page with the papers' tables, and your runs beside them.

Your own tables are not on it: `vicinal tables NAME --config-dir DIR` prints those.
"""

import argparse
from pathlib import Path

from vicinal.cli.failures import one_line_errors
from vicinal.cli.garbage import uncollected
from vicinal.commands.tables import RESULTS, add_folders, found_in, joined, rules, write
from vicinal.report import figures
from vicinal.report.page import page

REPORT = Path("report", "index.html")


@one_line_errors()
@uncollected()
def main() -> None:
    """Write the page; print where it is."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    add_folders(parser)
    arguments = parser.parse_args()
    found, folder = found_in(arguments), arguments.results or RESULTS
    drawn = figures.load(folder / "figures")
    write(folder, {REPORT: page(joined(found), found, rules(), drawn)})
    print(folder / REPORT)
