"""A table as data: its protocol, its cells, and every number that a paper prints.

`configs/table/PAPER/TABLE.yaml` follows the printed layout: `columns`, then `rows` with one
`printed` entry per column. A cell's overrides are those of the table, of each `when` rule whose
`given` the cell meets, of its column, of its row, and its own; a later override replaces an earlier
one of the same key. Its other fields come from the nearest of cell, row, column and table.

    measures, unit, better   what is printed, and which direction is good (lower, higher, none)
    report, split            the epoch that counts, and the data it is measured on
    evaluation, part         what is measured on the trained network, and the part of it
    source                   the other run on whose network its adversarial examples are made: its
                             overrides, in place of those of the row
    start                    the other run with whose weights the run begins, given likewise; the
                             run has `init=run` and may have settings of that
    over                     of a cost: the label of the row of plain training, in the same column,
                             whose number it is divided by
    beside                   evaluations that are planned with it, for whoever reads the number
    paper_runs, seeds        how many runs the paper's number is the mean of; the seeds of ours
    gpus                     how many the paper trained on, each normalising its own share
    quoted, note             whose number it is, if not the authors' own; what is odd about it
    unavailable              why no run can reproduce the number, in one sentence
    best_of                  sweeps (`method.copies=5,25`): the number is the best of all these runs
                             (`a=1,2 b=3,4` are two, in which both values change together)
    definition               true if the number follows from a definition, and nothing is run
    resampled                the share of one small data set that each seed holds out for testing

`notes` are remarks on the whole table, printed under it: choices of ours, what is not known.

A table that is `variant_of` another has numbers of that one, beside runs at another protocol.

Claims are orderings that the paper states: `better` beats each of `than`, labels of rows or
columns, in every pair of cells that differ in this label only and whose labels contain `where`.

A table of your own is `DIR/table/NAME.yaml` in the folder that --config-dir names. It needs no
printed numbers: a row without `printed` has a cell in every column, and null in `printed` leaves
one out. `better` is what suits the measure; `caption`, `stub` and a claim's `says` may be missing.

    caption: Focal loss on digits
    seeds: [0, 1, 2]
    run: [dataset=digits, model=wrn10_2, schedule.epochs=5]
    columns:
      - {label: test error, measures: error}
      - {label: corrupted, measures: robust_accuracy, evaluation: corrupted}
    rows:
      - {label: ERM, run: [method=erm]}
      - {label: focal, run: [method=focal]}
    claims: [{better: focal, than: ERM}]
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import yaml

from vicinal.cli.configs import CONFIGS
from vicinal.cli.messages import did_you_mean, listed
from vicinal.cli.overrides import merge
from vicinal.tables import own
from vicinal.tables.cell import COSTS, HIGHER, Cell
from vicinal.tables.plan import begin_with
from vicinal.tables.schema import CELL_FIELDS, as_label, check

TABLES = CONFIGS / "table"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built with it


@dataclass(frozen=True)
class Claim:
    """The claim, in the paper's words, that one label's cells are better than another's."""

    says: str
    better: str
    than: tuple[str, ...]
    where: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table of a paper, or one's own."""

    name: str  # PAPER/TABLE
    tree: Mapping[str, Any]

    def __post_init__(self) -> None:
        check(self.name, self.tree)
        labels = {part for cell in self.cells for part in cell.labels}
        for claim in self.claims:
            for part in (claim.better, *claim.than, *claim.where):
                if part not in labels:
                    raise ValueError(f"{self.name}: claim {claim.says!r} names no label {part!r}")
            if not any(self.pairs(claim)):
                raise ValueError(f"{self.name}: claim {claim.says!r} compares no two cells")

    @property
    def paper(self) -> str:
        """The paper's name; of one's own table, that of its folder or its own."""
        return self.name.partition("/")[0]

    @property
    def variant(self) -> bool:
        """Whether it repeats the numbers of another table, for another protocol."""
        return "variant_of" in self.tree

    @property
    def caption(self) -> str:
        """What the table shows."""
        return self.tree.get("caption", self.name)

    @property
    def stub(self) -> tuple[str, ...]:
        """The headings over the row labels."""
        return as_label(self.tree.get("stub", ()))

    @property
    def columns(self) -> list[tuple[str, ...]]:
        """The column labels, top to bottom."""
        return [as_label(column["label"]) for column in self.tree["columns"]]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The row labels."""
        return [as_label(row["label"]) for row in self.tree["rows"]]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every number, row by row."""
        return tuple(self._cells())

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the whole table."""
        return as_label(self.tree.get("notes", ()))

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The orderings that the paper states."""
        return tuple(map(_claim, self.tree.get("claims", ())))

    def pairs(self, claim: Claim) -> Iterator[tuple[Cell, Cell]]:
        """The cells that a claim compares, the better one first."""
        by_labels = {(cell.row, cell.column): cell for cell in self.cells}
        for cell in self.cells:
            if not set(claim.where) <= cell.labels:
                continue
            for worse in claim.than:
                row, column = (_swap(each, claim.better, worse) for each in (cell.row, cell.column))
                other = by_labels.get((row, column))
                if other is not None and other is not cell:
                    yield cell, other

    def _cells(self) -> Iterator[Cell]:
        for i, row in enumerate(self.tree["rows"]):
            for j, column in enumerate(self.tree["columns"]):
                if _entry(row, j) is not None:
                    yield self._cell(row, column, (i, j))

    def _cell(
        self, row: Mapping[str, Any], column: Mapping[str, Any], place: tuple[int, int]
    ) -> Cell:
        """The cell, and the one that it is divided by."""
        cell, over = self._alone(row, column, place)
        if cell.runnable and (cell.measures in COSTS) != bool(over):
            raise ValueError(
                f"{self.name}, {cell.label}: over must be given for a cost, and for nothing else "
                "(seconds and bytes of another machine are compared as ratios alone)"
            )
        if not over:
            return cell
        found = {as_label(each["label"]): i for i, each in enumerate(self.tree["rows"])}.get(over)
        if found is None or _entry(self.tree["rows"][found], place[1]) is None:
            raise ValueError(
                f"{self.name}, {cell.label}: over must be a row with a number in this column, got "
                f"{' | '.join(over)}"
            )
        other, _ = self._alone(self.tree["rows"][found], column, (found, place[1]))
        return replace(cell, over=other)

    def _alone(
        self, row: Mapping[str, Any], column: Mapping[str, Any], place: tuple[int, int]
    ) -> tuple[Cell, tuple[str, ...]]:
        """The cell, and the label of the row that it is divided by."""
        entry = _entry(row, place[1]) or {}
        levels = (self.tree, column, row, entry)
        fields = {key: level[key] for level in levels for key in CELL_FIELDS if key in level}
        for key in ("seeds", "best_of", "beside"):
            if key in fields:
                fields[key] = tuple(fields[key])
        for key in ("source", "start"):
            if fields.get(key):
                lines = self.tree.get("run", ()), column.get("run", ()), fields[key]
                fields[key] = self._overrides(lines)
        if fields.get("measures") in HIGHER:
            fields.setdefault("better", "higher")
        overrides = self._overrides([level.get("run", ()) for level in levels])
        over = as_label(fields.pop("over", None) or ())
        cell = Cell(
            table=self.name,
            row=as_label(row["label"]),
            column=as_label(column["label"]),
            place=place,
            printed=entry.get("printed"),
            overrides=begin_with(fields.get("start", ()), overrides),
            **fields,
        )
        return cell, over

    def _overrides(self, levels: Sequence[Sequence[str]]) -> tuple[str, ...]:
        table, *nearer = levels
        merged = set(merge(*levels))
        met = [
            rule["run"]
            for rule in self.tree.get("when", ())
            if set(as_label(rule["given"])) <= merged
        ]
        return merge(table, *met, *nearer)


def names() -> list[str]:
    """Every table, as PAPER/TABLE."""
    files = (path.relative_to(TABLES).with_suffix("") for path in TABLES.rglob("*.yaml"))
    return sorted((file.as_posix() for file in files), key=_natural)


def known() -> list[str]:
    """Every table, and those of the user's own folders."""
    return list(dict.fromkeys([*names(), *own.names()]))


def load(name: str) -> Table:
    """Read one table; of one's own, its runs are checked as well."""
    if name not in known():
        near = did_you_mean(name, known())
        raise ValueError(f"{name} is not a table{near} (known: {listed(name, known())})")
    path = TABLES / f"{name}.yaml"
    if path.is_file() and name not in own.names():
        return Table(name, _LOADER(path.read_text()).get_single_data())
    try:
        if path.is_file():
            raise ValueError("a table of this name is there already; choose another")
        found = Table(name, own.tree(name))
        own.check_runs(found.cells)
    except ValueError as error:
        raise ValueError(f"{own.path(name)}: {error}") from error
    return found


def load_all() -> list[Table]:
    """Read every table."""
    return [load(name) for name in names()]


def _natural(name: str) -> list[str | int]:
    """A sort key that puts table10 after table9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _entry(row: Mapping[str, Any], column: int) -> Mapping[str, Any] | None:
    """A cell's own fields; None if the table has no cell there."""
    if "printed" not in row:
        return {}
    entry = row["printed"][column]
    return {"printed": entry} if isinstance(entry, str) else entry


def _claim(node: Mapping[str, Any]) -> Claim:
    than = as_label(node["than"])
    says = node.get("says", f"{node['better']} beats {' and '.join(than)}")
    return Claim(says, node["better"], than, as_label(node.get("where", ())))


def _swap(label: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if part == old else part for part in label)
