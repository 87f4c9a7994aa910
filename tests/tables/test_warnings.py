"""What the checks of an evaluation say stands beside each number that comes from it."""

from typing import Any

import measured_samples
import pytest
import report_samples
from table_samples import record

from vicinal.loggers.evaluations import warnings
from vicinal.storage.evaluations import key
from vicinal.tables.markdown import page
from vicinal.tables.measured import by_evaluation
from vicinal.tables.plan import plan_evaluation
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.table import Table

TREE = {
    "caption": "Accuracy",
    "run": ["dataset=digits", "model=wrn10_2", "method=erm"],
    "measures": "accuracy",
    "better": "higher",
    "evaluation": "white_box",
    "seeds": [0, 1],
    "stub": ["Data"],
    "columns": [{"label": "FGSM", "part": "fgsm"}, {"label": "I-FGSM", "part": "ifgsm"}],
    "rows": [{"label": "digits", "printed": ["3.8", "3.8"]}],
}
TABLE = Table("paper/attacked", TREE)
FGSM, IFGSM = TABLE.cells
MASKED = {"clean_zero_gradients": 100.0}
(SAID,) = warnings(MASKED)


def run(seed: int, name: str = "white_box", **more: Any) -> dict[str, Any]:
    config = plan_evaluation("white_box", {}) | more.pop("config", {})
    metrics = {"fgsm_top1": 40.0, "ifgsm_top1": 10.0, **more}
    found = {"name": name, "config": config, "report": "last", "metrics": metrics}
    return record(FGSM.overrides, seed, 50.0, evaluations={key(name, "last", config): found})


def test_a_warning_stands_with_the_notes_on_each_of_its_numbers_once() -> None:
    found = [run(0, **MASKED), run(1, **MASKED)]
    results = TableResults.of(TABLE, RecordIndex(found))
    assert [each.warnings for each in results.outcomes] == [(SAID,), (SAID,)]
    text = page(results)
    assert f"\n- ours: {SAID} (digits, FGSM; digits, I-FGSM)\n" in text
    assert text.count(SAID) == 1


def test_one_seed_with_a_warning_is_enough() -> None:
    assert RecordIndex([run(0), run(1, **MASKED)]).outcome(FGSM).warnings == (SAID,)


@pytest.mark.parametrize(
    "found",
    [
        [run(0), run(1)],
        [run(0), run(1), run(7, **MASKED)],
        [run(0), run(1, "seven_steps", **MASKED)],
        [run(0), run(1, config={"attack_missed": False}, **MASKED)],
    ],
    ids=["no warning", "an unplanned seed", "another evaluation", "other settings"],
)
def test_a_warning_about_numbers_that_are_not_shown_is_not_shown(
    found: list[dict[str, Any]],
) -> None:
    outcome = RecordIndex(found).outcome(FGSM)
    assert 0 in outcome.values
    assert outcome.warnings == ()
    assert "ours:" not in page(TableResults.of(TABLE, RecordIndex(found)))


def test_the_best_of_several_runs_has_the_warnings_of_all() -> None:
    sweep = {"label": "best", "part": "fgsm", "best_of": ["optimizer.lr=0.1,0.2"]}
    (cell,) = Table(
        "paper/best", TREE | {"columns": [sweep], "rows": [{"label": "digits", "printed": ["3.8"]}]}
    ).cells
    first, second = (
        run(0, **more) | {k: record(lines, 0, 50.0)[k] for k in ("name", "config")}
        for lines, more in zip(cell.runs, ({}, MASKED), strict=True)
    )
    assert RecordIndex([first, second]).outcome(cell).warnings == (SAID,)
    assert RecordIndex([second]).outcome(cell).warnings == ()


def test_warnings_are_remarks_on_an_evaluation() -> None:
    entry = measured_samples.entry({"clean_top1": 1.0, **MASKED}, "cifar10_c", "generated")
    found = [report_samples.record("a/b/c/d", seed, 5.0, entry) for seed in (0, 1)]
    assert by_evaluation(found).splitlines()[-1].endswith(f"| generated, {SAID} |")
