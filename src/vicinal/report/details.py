"""The data from which the page's script builds the panel with a cell's details."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from vicinal.cli.overrides import join, merge, parse, side_by_side
from vicinal.report import words
from vicinal.tables import names
from vicinal.tables.cell import Cell
from vicinal.tables.markdown import our_number
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import NOT_ORIGINAL, TableResults

Record = Mapping[str, Any]


class Pool:
    """Values that many records share; each is stored once."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """The index of a value, which is stored if it is new."""
        key = repr(value)
        if key not in self._places:
            self._places[key] = len(self.kept)
            self.kept.append(value)
        return self._places[key]


def details(every: Sequence[TableResults], runs: str) -> dict[str, Any]:
    """All cells, the runs they show, and what these share; `runs` is the folder of the records."""
    pool, found, cells, tables = Pool(), dict[str, Any](), dict[str, Any](), dict[str, str]()
    for results in every:
        table = results.table
        where = f"{names.short(table.paper)}, {names.titled(table.name)}"
        tables[words.slug(table.name)] = where
        for outcome in results.outcomes:
            cells[words.cell_id(outcome)] = _cell(outcome, pool)
            for record in outcome.records:
                found.setdefault(record["name"], {})[record["seed"]] = _record(record, pool)
    return {"cells": cells, "runs": found, "pool": pool.kept, "tables": tables, "folder": runs}


def _cell(outcome: Outcome, pool: Pool) -> dict[str, Any]:
    cell = outcome.cell
    digits = max(cell.decimals, 2)
    found: dict[str, Any] = {
        "label": [*cell.row, *cell.column],
        "table": words.slug(cell.table),
        "paper": words.printed(cell),
        "ours": words.minus(our_number(outcome)),
        "verdict": words.slug(outcome.verdict),
        "says": words.verdict(outcome),
        "as": pool.place(_protocol(cell)),
        "quoted": cell.quoted,
        "note": pool.place(cell.note) if cell.note else None,
        "commands": pool.place(_commands(outcome)),
        "value": cell.value,
        "spread": cell.spread,
        "run": None if cell.exact else _named(outcome),
        "values": [[seed, round(value, digits + 2)] for seed, value in outcome.values.items()],
        "digits": digits,
        "reduced": pool.place(outcome.reduced) if outcome.reduced else None,
        "warnings": pool.place(outcome.warnings) if outcome.warnings else None,
    }
    return {key: value for key, value in found.items() if value not in (None, [], "")}


def _protocol(cell: Cell) -> dict[str, Any]:
    return {
        "measure": names.measure(cell.measures),
        "unit": cell.unit,
        "report": words.reported(cell),
        "paperRuns": cell.paper_runs,
        "plan": words.seeds(cell.seeds),
    }


def _commands(outcome: Outcome) -> list[list[str]]:
    """The commands that produce this number, each after a heading."""
    cell = outcome.cell
    if cell.exact:
        return []
    if cell.unavailable is not None:
        planned = _commanded(cell) if cell.overrides else []
        return [["As planned (cannot be run)", _train(line, cell.seeds)] for line in planned]
    found = [["At the paper's protocol", _train(line, cell.seeds)] for line in _commanded(cell)]
    lines = tuple(line for line in outcome.reduced if line != NOT_ORIGINAL)
    if lines:
        kept = outcome.records[0]["config"].get("reduced")
        for line in _commanded(cell):
            shown = merge(line, lines)
            shown = (*shown, join("reduced", kept)) if kept else shown
            found.append(["The reduced runs shown here", _train(shown, sorted(_seeds(outcome)))])
    found.append(
        ["All runs still missing from this table", f"python train.py -m table={cell.table}"]
    )
    return found


def _commanded(cell: Cell) -> list[tuple[str, ...]]:
    """The overrides of a cell's runs, and of what is measured on them.

    A command tries all combinations of its sweeps, so values that go together need one each.
    """
    measured: tuple[str, ...] = ()
    if cell.evaluation is not None:
        measured = f"evaluation={cell.evaluation}", f"reports=[{cell.report}]"
    sweeps = ([(each,)] if " " not in each else side_by_side(each) for each in cell.best_of)
    return [merge(cell.run, *chosen, measured) for chosen in product(*sweeps)]


def _named(outcome: Outcome) -> str | None:
    if outcome.records:
        return outcome.records[0]["name"]
    return None if outcome.run is None else outcome.run.name


def _seeds(outcome: Outcome) -> set[int]:
    return {record["seed"] for record in outcome.records}


def _train(overrides: Sequence[str], seeds: Sequence[int]) -> str:
    sweep = len(seeds) > 1 or any(parse(line).is_sweep_override() for line in overrides)
    several = " -m" if sweep else ""
    line = (*overrides, f"seed={','.join(map(str, seeds))}")
    return f"python train.py{several} {shlex.join(line)}"


def _record(record: Record, pool: Pool) -> dict[str, Any]:
    """Where a run's numbers come from: sessions, data, time and size."""
    if "failed" in record:
        return {"failed": record["failed"]}
    sessions = [
        [session["from_step"], pool.place({k: v for k, v in session.items() if k != "from_step"})]
        for session in record["sessions"]
    ]
    return {
        "sessions": sessions,
        "data": pool.place(record["data"]),
        "seconds": round(record["timing"]["seconds"]),
        "parameters": record["parameters"],
        "epochs": record["config"]["schedule"]["epochs"],
    }
