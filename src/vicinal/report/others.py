"""The runs of which no table shows a number, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from vicinal.report import curves
from vicinal.report.html import Html, tag
from vicinal.tables import runs
from vicinal.tables.results import TableResults

Record = Mapping[str, Any]


def others(every: Sequence[TableResults], records: Sequence[Record]) -> Html | None:
    """Runs of which no table shows a number: their accuracies, side by side."""
    groups = runs.grouped(runs.unlisted_runs(every, records))
    body = [_other(runs.row(name, group)) for name, group in groups.items()]
    head = tag("tr", [tag("th", name, scope="col") for name in runs.HEAD])
    grid = tag("table", tag("thead", head), tag("tbody", body), class_="plain")
    said = "Test accuracy in percent, mean ± sample standard deviation over seeds."
    scrolled = tag("div", grid, class_="scroll", tabindex="0")
    inner = [tag("p", said, class_="meta"), scrolled, _charts(groups)]
    none = tag("p", "Every run belongs to a table.", class_="meta")
    return tag(
        "section",
        tag("h2", "Runs of no table"),
        inner if groups else none,
        id="others",
        aria_label="Runs of no table",
    )


def _other(row: Sequence[str]) -> Html:
    *kind, identity = row[:4]
    return tag("tr", [tag("td", cell) for cell in (*kind, tag("code", identity), *row[4:])])


def _charts(groups: Mapping[str, Sequence[Record]]) -> Html | None:
    kinds: dict[str, list[curves.Line]] = {}
    for name, seeds in groups.items():
        whole = [r for r in seeds if "failed" not in r and "test_top1" in r["curves"]]
        dataset, model, method, *_ = (*name.split("/"), "", "")
        if whole:
            kinds.setdefault(f"{dataset}, {model}", []).append(curves.Line(method, whole))
    charts = [
        curves.chart(kind, lines[i : i + curves.HUES])
        for kind, lines in kinds.items()
        for i in range(0, len(lines), curves.HUES)
    ]
    return tag("div", charts, class_="charts") if charts else None
