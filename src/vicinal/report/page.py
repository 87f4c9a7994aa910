"""The report: one file that shows every table of every paper, our numbers beside theirs."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from vicinal.report import words
from vicinal.report.attacks import attacks
from vicinal.report.certificates import certificates
from vicinal.report.corruptions import corruptions
from vicinal.report.curves import charts
from vicinal.report.details import details
from vicinal.report.figures import Figure
from vicinal.report.overview import overview
from vicinal.report.render import HERE, render
from vicinal.report.section import section
from vicinal.tables import runs
from vicinal.tables.outcome import Outcome
from vicinal.tables.papers import paper, papers
from vicinal.tables.results import TableResults

Record = Mapping[str, Any]


def page(
    every: Sequence[TableResults],
    records: Sequence[Record],
    rules: str,
    drawn: Sequence[Figure] = (),
    folder: str = "../runs",
) -> str:
    """The whole page; `rules` are those of the verdicts, `folder` is where the records are."""
    by_paper: dict[str, list[TableResults]] = {name: [] for name in papers()}
    for results in every:
        by_paper.setdefault(results.table.paper, []).append(results)
    by_paper = {name: tables for name, tables in by_paper.items() if tables}
    chapters = [_chapter(name, tables, drawn) for name, tables in by_paper.items()]
    empty = [section["empty"] for chapter in chapters for section in chapter["sections"]]
    return render(
        "page.html.j2",
        chapters=chapters,
        unrun=sum(empty),
        leave_out=sum(empty) > len(empty) / 2,
        tables=sum(not results.table.variant for results in every),
        overview=overview({name: _outcomes(tables) for name, tables in by_paper.items()}),
        corruptions=corruptions(records),
        attacks=attacks(records),
        certificates=certificates(records),
        others=_others(runs.grouped(runs.unlisted_runs(every, records))),
        rules=rules,
        details=details([results for tables in by_paper.values() for results in tables], folder),
        css=Markup((HERE / "report.css").read_text()),
        script=Markup((HERE / "report.js").read_text()),
    )


def _outcomes(tables: Sequence[TableResults]) -> list[Outcome]:
    return [outcome for results in tables for outcome in results.original_outcomes]


def _chapter(name: str, tables: Sequence[TableResults], drawn: Sequence[Figure]) -> dict[str, Any]:
    """One paper: its tables and figures."""
    return {
        "id": words.slug(name),
        "paper": paper(name),
        "outcomes": _outcomes(tables),
        "sections": [section(results) for results in tables],
        "figures": [figure for figure in drawn if figure.paper == name],
    }


def _others(groups: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """The runs that no table shows a number of."""
    return {
        "head": runs.HEAD,
        "rows": [runs.row(name, seeds) for name, seeds in groups.items()],
        "charts": charts((name.split("/")[2], seeds) for name, seeds in groups.items()),
    }
