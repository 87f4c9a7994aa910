"""Print tables with the numbers of recorded runs, or rebuild all pages of the papers' tables.

vicinal tables                               rebuild RESULTS/tables from the records in RESULTS/runs
vicinal tables mixup/table4 --papers         print one table, the papers' numbers beside yours
vicinal tables ablation --config-dir mine --format latex --out ablation.tex

Your own tables (DIR/table/NAME.yaml) are printed by name; pages and report have the papers' alone.
"""

import argparse
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vicinal.cli.failures import one_line_errors
from vicinal.cli.garbage import uncollected
from vicinal.cli.own import importable
from vicinal.errors import RunError
from vicinal.storage import records
from vicinal.tables import measured, runs, table, verdicts
from vicinal.tables.counts import coverage, overview, summary
from vicinal.tables.formats.csv import csv_lines
from vicinal.tables.formats.latex import latex
from vicinal.tables.formats.layout import Layout, layout
from vicinal.tables.formats.markdown import markdown
from vicinal.tables.formats.text import text
from vicinal.tables.markdown import page
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.spreads import Spreads

RESULTS = Path("runs", "results")
RUNS = (
    "Test accuracy in percent; of language models the perplexity, "
    "of detectors the average precision."
)
EVALUATIONS = """\
What was measured of trained networks: the numbers that stand for the whole, mean ± sample standard
deviation over seeds; `results/runs` has all numbers. Generated sets were made here: they are not
the published ones, and their numbers are not comparable."""
FORMATS: Mapping[str, Callable[[Layout], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
}

Records = Sequence[Mapping[str, Any]]


@one_line_errors()
@uncollected()
def main() -> None:
    """Print what was asked for."""
    arguments = parse()
    if arguments.coverage:
        print(coverage(table.load_all()), end="")
        return
    found = found_in(arguments)
    if not arguments.names:
        rebuild(found, arguments.results or RESULTS)
        if arguments.against:
            print(runs.agreement(found, records.load(arguments.against / "runs")))
        return
    printed = some(arguments, found)
    if arguments.out is None:
        print(printed, end="")
    else:
        arguments.out.write_text(printed, encoding="utf-8")
        print(arguments.out)


def parse() -> argparse.Namespace:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("names", nargs="*", metavar="NAME", help="tables to print; none: all pages")
    add_folders(parser)
    parser.add_argument("--format", choices=[*FORMATS, "csv"], help="of named tables (text)")
    parser.add_argument(
        "--papers", action="store_true", help="print the papers' numbers of the same runs, too"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write named tables to a file")
    parser.add_argument(
        "--against", type=Path, help="compare with the runs of another folder, such as results"
    )
    parser.add_argument(
        "--coverage", action="store_true", help="only print how many numbers the tables ask for"
    )
    arguments = parser.parse_intermixed_args()
    for name in ("format", "papers", "out"):
        if getattr(arguments, name) and not arguments.names:
            parser.error(f"--{name} needs the NAME of a table")
    for name in ("against", "coverage"):
        if getattr(arguments, name) and arguments.names:
            parser.error(f"--{name} is about all tables: leave out {' '.join(arguments.names)}")
    return arguments


def some(arguments: argparse.Namespace, found: Records) -> str:
    """The tables that were named, in the format that was asked for."""
    tables = [table.load(name) for name in arguments.names]
    if arguments.format == "csv":
        # Few runs are judged by the deviations that papers print.
        judged = any(cell.printed is not None for each in tables for cell in each.cells)
        index = RecordIndex(found, Spreads(table.load_all()) if judged else None)
        return csv_lines([TableResults.of(each, index) for each in tables], arguments.papers)
    index, write_one = RecordIndex(found), FORMATS[arguments.format or "text"]
    every = [layout(TableResults.of(each, index), arguments.papers) for each in tables]
    return "\n".join(map(write_one, every))


def rebuild(found: Records, folder: Path) -> None:
    """Write the pages of all papers' tables; print the overview."""
    results = joined(found)
    write(folder, pages(results, found))
    print(overview(results), runs.by_run(found), sep="\n", end="")


def pages(results: Sequence[TableResults], found: Records) -> dict[Path, str]:
    """The text of each file, by its path in the results folder."""
    tables = Path("tables")
    texts = {tables / f"{each.table.name}.md": page(each) for each in results}
    texts[tables / "summary.md"] = summary(results, rules())
    texts[tables / "runs.md"] = f"{RUNS}\n\n{runs.by_run(found)}"
    if evaluations := measured.by_evaluation(found):
        texts[tables / "evaluations.md"] = f"{EVALUATIONS}\n\n{evaluations}"
    return texts


def add_folders(parser: argparse.ArgumentParser) -> None:
    """The options that say where records and one's own configs are."""
    parser.add_argument("--results", type=Path, help=f"where the records are ({RESULTS})")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a folder of your own")


def found_in(arguments: argparse.Namespace) -> Records:
    """The records of the results folder; the default one must have some."""
    if arguments.config_dir:
        importable(arguments.config_dir)
    folder = (arguments.results or RESULTS) / "runs"
    found = records.load(folder)
    if not found and not (arguments.results and arguments.results.is_dir()):
        raise RunError(
            f"{folder} has no records (finished runs leave theirs there; --results names "
            "another folder)"
        )
    return found


def joined(found: Records) -> list[TableResults]:
    """Every table of the papers, and what these runs say of its numbers."""
    tables = table.load_all()
    index = RecordIndex(found, Spreads(tables))
    return [TableResults.of(each, index) for each in tables]


def rules() -> str:
    """How numbers are judged."""
    return inspect.getdoc(verdicts) or ""


def write(folder: Path, texts: Mapping[Path, str]) -> None:
    """Write files, by their paths in a folder."""
    for name, content in texts.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
