"""A paper's table as data: its protocol, its cells, and every number it prints.

`configs/table/PAPER/TABLE.yaml` is laid out as the paper prints the table: `columns`, then `rows`
with one `printed` entry a column. A cell's overrides are those of the table, of each `when` rule
whose `given` the cell meets, of its column, of its row, and its own, the later of one key replacing
the earlier. Its other fields are those of the nearest of cell, row, column and table.

    measures, unit, better   what is printed, and which direction is good (lower, higher, none)
    report, split            the epoch that counts, and the data it is measured on
    paper_runs, seeds        how many runs the paper's number is the mean of; the seeds of ours
    gpus                     how many the paper trained on, each normalising its own share
    quoted, note             whose number it is, if not the authors' own; what is odd about it
    waits                    what is missing for it, one of the reasons in configs/waits.yaml
    definition               true where what is printed is so by definition, and nothing is run
    resampled                the share of one small data set that each seed draws again to test on

`notes` are remarks on the table as a whole, printed under it: choices of ours, what is not known.

A table that is `variant_of` another holds the same numbers beside runs of another protocol.

Claims are orderings that the paper states: `better` beats each of `than`, labels of rows or
columns, in every pair of cells that differ in this label only and whose labels contain `where`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from vicinal.cli.configs import CONFIGS
from vicinal.tables.cell import Cell

TABLES = CONFIGS / "table"
_SCOPED = (
    "measures",
    "unit",
    "better",
    "report",
    "split",
    "paper_runs",
    "gpus",
    "seeds",
    "quoted",
    "note",
)
_FIELDS = (*_SCOPED, "waits", "definition", "resampled")
_TABLE = (
    "variant_of",
    "caption",
    "run",
    "when",
    "stub",
    "columns",
    "rows",
    "claims",
    "notes",
    "defaults",
    *_FIELDS,
)


@dataclass(frozen=True)
class Claim:
    """That one label's cells are better than another's, in the paper's words."""

    says: str
    better: str
    than: tuple[str, ...]
    where: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table of a paper."""

    name: str  # PAPER/TABLE
    tree: Mapping[str, Any]

    def __post_init__(self) -> None:
        _known(self.name, self.tree, _TABLE)
        for kind in ("columns", "rows"):
            for entry in self.tree[kind]:
                _known(f"{self.name}, {kind}", entry, ("label", "run", "printed", *_FIELDS))
        for row in self.tree["rows"]:
            if len(row["printed"]) != len(self.tree["columns"]):
                raise ValueError(
                    f"{self.name}, {row['label']}: printed must have an entry for each of "
                    f"{len(self.tree['columns'])} columns, got {len(row['printed'])}"
                )
        labels = {part for cell in self.cells for part in cell.labels}
        for claim in self.claims:
            for part in (claim.better, *claim.than, *claim.where):
                if part not in labels:
                    raise ValueError(f"{self.name}: claim {claim.says!r} names no label {part!r}")
            if not any(self.pairs(claim)):
                raise ValueError(f"{self.name}: claim {claim.says!r} compares no two cells")

    @property
    def paper(self) -> str:
        """The paper's name."""
        return self.name.partition("/")[0]

    @property
    def variant(self) -> bool:
        """Whether it reads another table's numbers in another way, and prints none of its own."""
        return "variant_of" in self.tree

    @property
    def caption(self) -> str:
        """What the table shows."""
        return self.tree["caption"]

    @property
    def stub(self) -> tuple[str, ...]:
        """The headings over the row labels."""
        return _label(self.tree["stub"])

    @property
    def columns(self) -> list[tuple[str, ...]]:
        """The column labels, top to bottom."""
        return [_label(column["label"]) for column in self.tree["columns"]]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The row labels."""
        return [_label(row["label"]) for row in self.tree["rows"]]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every printed number, row by row."""
        return tuple(self._cells())

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on all of it."""
        return _label(self.tree.get("notes", ()))

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The orderings that the paper states."""
        return tuple(
            Claim(c["says"], c["better"], _label(c["than"]), _label(c.get("where", ())))
            for c in self.tree.get("claims", ())
        )

    def pairs(self, claim: Claim) -> Iterator[tuple[Cell, Cell]]:
        """The cells that a claim compares, the better one first."""
        by_place = {(cell.row, cell.column): cell for cell in self.cells}
        for cell in self.cells:
            if not set(claim.where) <= cell.labels:
                continue
            for worse in claim.than:
                other = by_place.get(
                    (_swap(cell.row, claim.better, worse), _swap(cell.column, claim.better, worse))
                )
                if other is not None and other is not cell:
                    yield cell, other

    def _cells(self) -> Iterator[Cell]:
        for i, row in enumerate(self.tree["rows"]):
            for j, column in enumerate(self.tree["columns"]):
                entry = row["printed"][j]
                if entry is None:
                    continue
                own = entry if isinstance(entry, dict) else {"printed": entry}
                _known(f"{self.name}, {row['label']}", own, ("printed", "run", *_FIELDS))
                levels = (self.tree, column, row, own)
                fields = {key: x[key] for x in levels for key in _FIELDS if key in x}
                if "seeds" in fields:
                    fields["seeds"] = tuple(fields["seeds"])
                yield Cell(
                    table=self.name,
                    row=_label(row["label"]),
                    column=_label(column["label"]),
                    place=(i, j),
                    printed=own["printed"],
                    overrides=self._overrides([x.get("run", ()) for x in levels]),
                    **fields,
                )

    def _overrides(self, runs: Sequence[Sequence[str]]) -> tuple[str, ...]:
        first, *rest = runs
        merged = set(merge(*runs))
        rules = [
            rule["run"]
            for rule in self.tree.get("when", ())
            if set(_label(rule["given"])) <= merged
        ]
        return merge(first, *rules, *rest)


def names() -> list[str]:
    """Every table there is, as PAPER/TABLE."""
    found = (path.relative_to(TABLES).with_suffix("").as_posix() for path in TABLES.rglob("*.yaml"))
    return sorted(found, key=_natural)


def load(name: str) -> Table:
    """One table, from its file."""
    path = (TABLES / name).with_suffix(".yaml")
    return Table(name, yaml.safe_load(path.read_text()))


def load_all() -> list[Table]:
    """Every table."""
    return [load(name) for name in names()]


def _natural(name: str) -> list[str | int]:
    """table10 after table9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _label(label: str | Sequence[str]) -> tuple[str, ...]:
    return (label,) if isinstance(label, str) else tuple(label)


def _swap(label: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if part == old else part for part in label)


def merge(*runs: Sequence[str]) -> tuple[str, ...]:
    """One override a key, the last one, in the order of their first appearance."""
    return tuple(
        {line.partition("=")[0].lstrip("+"): line for run in runs for line in run}.values()
    )


def _known(where: str, node: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in node:
        if key not in keys:
            raise ValueError(f"{where}: {key} is not a field (fields: {', '.join(keys)})")
