"""What the file of a table may hold, and the shape of each field."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.errors import HydraException

from vicinal.cli.messages import did_you_mean
from vicinal.cli.overrides import parse

CELL_FIELDS = (
    *("measures", "unit", "better", "report", "split", "evaluation", "part", "source"),
    *("start", "beside", "over"),
    *("paper_runs", "gpus", "seeds", "best_of", "quoted", "note", "unavailable", "definition"),
    "resampled",
)
TABLE_FIELDS = (
    *("variant_of", "caption", "run", "when", "stub", "columns", "rows", "claims", "notes"),
    *("defaults", *CELL_FIELDS),
)
ENTRY_FIELDS = ("label", "run", "printed", *CELL_FIELDS)  # of a row or a column
NUMBER_FIELDS = ("printed", "run", *CELL_FIELDS)
CLAIM_FIELDS = ("says", "better", "than", "where")


def check(name: str, tree: Any) -> None:
    """Raise ValueError, in one line, at the first thing in a table's file that makes no sense."""
    _check_fields(name, tree, TABLE_FIELDS)
    for rule in tree.get("when", ()):
        _check_fields(f"{name}, when", rule, ("given", "run"), needed=("given", "run"))
    for claim in tree.get("claims", ()):
        _check_fields(f"{name}, claims", claim, CLAIM_FIELDS, needed=("better", "than"))
    for kind in ("columns", "rows"):
        entries = tree.get(kind)
        if not isinstance(entries, list) or not entries:
            raise ValueError(f"{name}: {kind} must be a list of {{label: …}}, got {entries}")
        for entry in entries:
            _check_fields(f"{name}, {kind}", entry, ENTRY_FIELDS, needed=("label",))
        _check_labels(f"{name}, {kind}", [as_label(entry["label"]) for entry in entries])
    for row in tree["rows"]:
        if "printed" in row:
            where = f"{name}, {' | '.join(as_label(row['label']))}"
            _check_printed(where, row["printed"], len(tree["columns"]))


def as_label(label: str | Sequence[str]) -> tuple[str, ...]:
    """The parts of a label."""
    return (label,) if isinstance(label, str) else tuple(label)


def _check_fields(where: str, node: Any, fields: Sequence[str], needed: Sequence[str] = ()) -> None:
    if not isinstance(node, Mapping):
        raise ValueError(f"{where}: it must have fields (those: {', '.join(fields)}), got {node}")
    for key, value in node.items():
        if key not in fields:
            near = did_you_mean(str(key), fields)
            raise ValueError(f"{where}: {key} is not a field{near} (fields: {', '.join(fields)})")
        fits, shape = SHAPES.get(key, (_anything, ""))
        if not fits(value):
            raise ValueError(f"{where}: {key} must be {shape}, got {value!r}")
    for key in needed:
        if key not in node:
            raise ValueError(f"{where}: {key} must be given, got {dict(node)}")


def _check_labels(where: str, labels: Sequence[tuple[str, ...]]) -> None:
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise ValueError(f"{where}: labels must differ, got {' | '.join(label)} twice")


def _check_printed(where: str, printed: Any, columns: int) -> None:
    """One entry per column: a number as text, one with fields of its own, or null for no cell."""
    if not isinstance(printed, list) or len(printed) != columns:
        got = len(printed) if isinstance(printed, list) else printed
        raise ValueError(
            f"{where}: printed must have an entry for each of {columns} columns, got {got}"
        )
    for entry in printed:
        fields = entry if isinstance(entry, Mapping) else {"printed": entry}
        _check_fields(where, fields, NUMBER_FIELDS)
        number = fields.get("printed")
        if number is not None and not isinstance(number, str):
            raise ValueError(f"{where}: printed must be text, in quotes, got {number}")


def _anything(_: Any) -> bool:
    return True


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _label(value: Any) -> bool:
    return isinstance(value, str) or (_texts(value) and len(value) > 0)


def _seeds(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(each, int) and each >= 0 for each in value)
    )


def _settings(value: Any) -> bool:
    return _texts(value) and all(map(_setting, value))


def _sweeps(value: Any) -> bool:
    return _texts(value) and all(_setting(line) for text in value for line in text.split())


def _given(value: Any) -> bool:
    return _settings([value] if isinstance(value, str) else value)


def _setting(line: str) -> bool:
    try:
        return parse(line).value_type is not None
    except HydraException:
        return False


Shape = tuple[Callable[[Any], bool], str]
_SETTINGS: Shape = (_settings, "a list of settings such as method=mixup")
_LABEL: Shape = (_label, "text or a list of texts (in quotes, if it looks like a number)")
SHAPES: Mapping[str, Shape] = {
    **dict.fromkeys(("run", "source", "start"), _SETTINGS),
    **dict.fromkeys(("label", "better", "than", "over", "caption"), _LABEL),
    "best_of": (_sweeps, "a list of sweeps such as method.copies=5,25"),
    "given": (_given, "a setting such as method=mixup, or a list of them"),
    "seeds": (_seeds, "a list of whole numbers"),
    "beside": (_texts, "a list of evaluations"),
}
