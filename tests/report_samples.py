"""RecordIndex, a table with every verdict, and a reader of pages, for the report's tests."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from measured_samples import corrupted, entry

from vicinal.report.figures import Figure
from vicinal.report.page import page
from vicinal.report.render import render
from vicinal.report.section import section
from vicinal.tables import table
from vicinal.tables.cell import Cell
from vicinal.tables.outcome import Outcome
from vicinal.tables.papers import paper
from vicinal.tables.plan import PlannedRun
from vicinal.tables.results import TableResults
from vicinal.tables.table import Table
from vicinal.tables.verdicts import Deviation

HOSTILE = """</script><img src=x onerror=alert(1)>"'&<!--"""


def record(
    name: str,
    seed: int,
    error: float,
    *entries: dict[str, Any],
    reduced: tuple[str, ...] = (),
) -> dict[str, Any]:
    """A run's record, with these evaluations by their keys."""
    session = {
        "from_step": 0,
        "git": {"commit": "c0ffee", "dirty": seed == 1},
        "device": {"name": f"GPU {HOSTILE}", "count": 1, "type": "cuda"},
        "machine": {"cores": 2},
        "versions": {"torch": "2.11"},
    }
    reading = {"top1": 100 - error, "top5": 99.0, "nll": error / 20}
    return {
        "name": name,
        "seed": seed,
        "config": {"schedule": {"epochs": 3}, "reduced": list(reduced)},
        "metrics": {"last": reading, "median10": reading, "best_test": reading | {"epoch": 3}},
        "curves": {"epoch": [1, 2, 3], "test_top1": [50.0, 70.0, 100 - error]},
        "timing": {"seconds": 12.3},
        "data": {"canonical": True, "fingerprint": {"train": "f1"}, "samples": {"train": 9}},
        "parameters": 1000,
        "sessions": [session],
        "evaluations": {key: each for one in entries for key, each in one.items()},
    }


def outcome(
    cell: Cell,
    errors: dict[int, float],
    failed: tuple[int, ...] = (),
    reduced: tuple[str, ...] = (),
) -> Outcome:
    name = f"d/m/e/{cell.place[0]}{cell.place[1]}"
    run = PlannedRun(cell.overrides, {}, name)
    found = [record(name, seed, error) for seed, error in errors.items()]
    found += [{**record(name, s, 0), "failed": f"not finite {HOSTILE}"} for s in failed]
    return Outcome(cell, run, errors, failed, reduced, tuple(found))


def small() -> TableResults:
    """Every verdict once, in a table with labels of unequal depth and hostile text."""
    waits = {"printed": "4.0", "unavailable": "Too large.", "note": HOSTILE}
    size = {"printed": "4.0", "measures": "parameters", "unit": "M"}
    cost = {"measures": "memory", "unit": "MB", "evaluation": "cost", "over": "F"}
    printed = [
        ["4.0±0.02", "4.0", "4.0"],
        ["4.0", "4.0", "4.0"],
        ["4.0", waits, None],
        ["4.0", "4.0", "4.0"],
        ["4.0", {"printed": "4.0", "better": "none"}, {"printed": "4.0", "definition": True}],
        [size, size, None],
        *[[{**cost, "printed": number}, None, None] for number in ("4.0", "8.0", "6.0")],
    ]
    labels = [["A", "one"], ["A", f"two {HOSTILE}"], *[[letter] for letter in "BCDEFGH"]]
    tree = {
        "caption": f"Errors {HOSTILE}",
        "run": ["method=erm"],
        "stub": ["Group", ""],
        "columns": [{"label": ["X", "p"]}, {"label": ["X", "q"]}, {"label": "Y"}],
        "rows": [
            {"label": label, "printed": row, "quoted": HOSTILE}
            for label, row in zip(labels, printed, strict=True)
        ],
        "claims": [{"says": f"p beats q {HOSTILE}", "better": "p", "than": ["q"]}],
    }
    made = Table("mixup/table0", tree)
    narrow, wide = {0: 4.0, 1: 4.01, 2: 3.99}, {0: 2.0, 1: 4.0, 2: 6.0}
    known = Deviation(0.1, "pooled")
    found = [
        replace(outcome(made.cells[0], narrow), warnings=(f"no gradient {HOSTILE}",)),
        outcome(made.cells[1], {seed: value + 2 for seed, value in narrow.items()}),
        outcome(made.cells[2], {seed: value - 2 for seed, value in narrow.items()}),
        outcome(made.cells[3], wide),
        outcome(made.cells[4], {0: 4.0, 1: 4.01, 5: 3.99}, reduced=("schedule.epochs=3",)),
        outcome(made.cells[5], {}, failed=(0, 1, 2)),
        Outcome(made.cells[6], PlannedRun((), {}, "d/m/e/none"), {}),
        Outcome(made.cells[7], None, {}),
        replace(outcome(made.cells[8], {0: 4.0}), pooled=known),
        replace(outcome(made.cells[9], {0: 4.2}), pooled=known),
        replace(outcome(made.cells[10], {0: 9.0}), pooled=known),
        outcome(made.cells[11], {0: 4.0, 1: 4.01}),
        outcome(made.cells[12], {seed: value + 2 for seed, value in narrow.items()}),
        Outcome(made.cells[13], None, {}),
        Outcome(made.cells[14], None, {}, counted=4.01),
        Outcome(made.cells[15], None, {}, counted=5.0),
    ]
    here = {"plain": {0: 10.0}, "devices": (f"GPU {HOSTILE}",)}
    found += [replace(outcome(each, {0: 20.0}), **here) for each in made.cells[16:]]
    return TableResults(made, tuple(found))


def unrun(name: str) -> TableResults:
    made = table.load(name)
    return TableResults(made, tuple(Outcome(cell, None, {}) for cell in made.cells))


def whole() -> str:
    figure = Figure("mixup", "figure1b", f"<svg>{HOSTILE}</svg>", {"a": [1, 2], "b": HOSTILE})
    measured = entry(corrupted(70.0), HOSTILE), entry(corrupted(60.0), sets="generated")
    records = [record("d/m/other/1", 0, 5.0, *measured), record("d/m/other/2", 0, 6.0, *measured)]
    return page([small()], records, f"rules {HOSTILE}", [figure])


def drawn(results: TableResults) -> str:
    """The section of one table."""
    return render("section.html.j2", section=section(results), paper=paper(results.table.paper))


class Read(HTMLParser):
    """A page's elements, and its text with single spaces."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, key: str) -> list[str]:
        return [found[key] or "" for _, found in self.elements if key in found]


def laid_out(markup: str) -> dict[tuple[int, int], str]:
    """What stands at each place of a table once spans are followed."""
    places: dict[tuple[int, int], str] = {}
    row = -1
    for line in re.findall(r"<tr>(.*?)</tr>", markup, re.DOTALL):
        row, column = row + 1, 0
        for head, inside in re.findall(r"<t[hd]\b([^>]*)>(.*?)</t[hd]>", line, re.DOTALL):
            while (row, column) in places:
                column += 1
            down, across = (
                int(found[1]) if (found := re.search(rf'{key}="(\d+)"', head)) else 1
                for key in ("rowspan", "colspan")
            )
            button = re.search(r'id="([^"]+)"', inside)
            said = button[1] if button else Read(inside).text
            for i in range(down):
                for j in range(across):
                    assert (row + i, column + j) not in places
                    places[row + i, column + j] = said
            column += across
    return places
