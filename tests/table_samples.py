"""A small table, what runs of its cells would leave, and what papers print."""

from collections.abc import Sequence
from typing import Any

from vicinal.tables.cell import Cell
from vicinal.tables.plan import plan_run
from vicinal.tables.spreads import Spreads
from vicinal.tables.table import Table

TABLE = Table(
    "paper/small",
    {
        "caption": "Test error",
        "run": ["dataset=cifar10", "model=wrn28_10"],
        "stub": ["Data"],
        "columns": [
            {"label": "ERM", "run": ["method=erm"]},
            {"label": "mixup", "run": ["method=mixup"]},
            {"label": "GAN", "unavailable": "Too large."},
        ],
        "rows": [{"label": "CIFAR-10", "printed": ["3.8", "2.7", "1.0"]}],
        "claims": [{"says": "mixup wins", "better": "mixup", "than": ["ERM"]}],
    },
)
ERM, MIXUP, UNAVAILABLE = TABLE.cells


def record(overrides: Sequence[str], seed: int, error: float, **more: Any) -> dict[str, Any]:
    """What a run with these overrides would leave."""
    run, top1 = plan_run(tuple(overrides)), 100 - error
    return {
        "name": run.name,
        "seed": seed,
        "config": run.config | {"seed": seed, "reduced": more.pop("reduced", [])},
        "metrics": {"last": {"top1": top1}, "best_valid": {"top1": top1, "epoch": 2}},
        "curves": {"epoch": [1.0, 2.0, 3.0], "valid_top1": [10.0, 20.0, 30.0]},
        "data": {"canonical": True},
        "parameters": 36_479_194,
    } | more


def runs(overrides: Sequence[str], *errors: float, **more: Any) -> list[dict[str, Any]]:
    return [record(overrides, seed, error, **more) for seed, error in enumerate(errors)]


def spread_of(measure: str, *spreads: str, runs: int = 5, **more: Any) -> Spreads:
    """Deviations that a paper prints for CIFAR-10."""
    rows = [{"label": str(i), "printed": [f"90.00±{each}"]} for i, each in enumerate(spreads)]
    tree = {**TABLE.tree, "columns": TABLE.tree["columns"][:1], "rows": rows, "claims": []}
    return Spreads([Table("other/table1", tree | {"measures": measure, "paper_runs": runs} | more)])


def printed(text: str, **more: Any) -> Cell:
    """A cell of an error unless said otherwise."""
    fixed = {"table": "paper/small", "row": ("r",), "column": ("c",), "place": (0, 0)}
    return Cell(**fixed, printed=text, overrides=("method=erm",), **more)
