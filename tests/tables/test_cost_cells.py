"""What methods cost: ratios to plain training, in the paper and here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from table_samples import record
from wording import says

from vicinal.report.section import section
from vicinal.storage.evaluations import key
from vicinal.tables import table
from vicinal.tables.counts import summary
from vicinal.tables.markdown import page
from vicinal.tables.plan import compose_cached, plan_evaluation, plan_run
from vicinal.tables.request import parse_request
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.sweep import Sweep
from vicinal.tables.table import Table

COST = {"evaluation": "cost", "over": ["plain", "90"], "seeds": [0]}
TREE = {
    "caption": "Costs",
    "run": ["dataset=cifar10", "model=wrn10_2"],
    "stub": ["Method", "Epochs"],
    "columns": [
        {"label": "MB", "measures": "memory", "unit": "MB", **COST},
        {"label": "min", "measures": "minutes_per_epoch", "unit": "min", **COST},
        {"label": "h", "measures": "hours", "unit": "h", **COST},
        {"label": "error"},
    ],
    "rows": [
        {
            "label": ["plain", "90"],
            "run": ["method=erm", "schedule.epochs=90"],
            "printed": ["6973", "22", "33", "3.8"],
        },
        {
            "label": ["plain", "200"],
            "run": ["method=erm", "schedule.epochs=200"],
            "printed": ["6973", "22", "73", None],
        },
        {
            "label": ["GradAug", "200"],
            "run": ["method=gradaug", "schedule.epochs=200"],
            "printed": ["7145", "61", "203", None],
        },
    ],
    "claims": [{"says": "plain is faster", "better": "plain", "than": ["GradAug"], "where": ["h"]}],
}
MADE = Table("paper/costs", TREE)
CELLS = {cell.label: cell for cell in MADE.cells}
ERM, GRADAUG = CELLS["plain | 90 | min"], CELLS["GradAug | 200 | min"]
CARD = "NVIDIA H200"


def numbers(seconds: float, plain: float, memory: float, of_plain: float) -> dict[str, float]:
    return {
        "seconds_per_epoch": seconds,
        "erm_seconds_per_epoch": plain,
        "memory_mb": memory,
        "erm_memory_mb": of_plain,
    }


def measured(
    overrides: Sequence[str],
    metrics: Mapping[str, float],
    device: str = CARD,
    ranks: int = 1,
    **changed: Any,
) -> dict[str, Any]:
    config = plan_evaluation("cost", {}) | changed
    entry = {
        "name": "cost",
        "report": "last",
        "config": config,
        "metrics": dict(metrics),
        "origin": {"device": {"name": device}},
        "ranks": ranks,
    }
    return record(overrides, 0, 90.0, evaluations={key("cost", "last", config): entry})


PLAIN = measured(ERM.run, numbers(36, 35, 1000, 1001))
SLOW = measured(GRADAUG.run, numbers(100, 40, 1030, 1000))


def joined(*found: dict[str, Any], made: Table = MADE) -> TableResults:
    return TableResults.of(made, RecordIndex(found))


def judged(*found: dict[str, Any]) -> dict[str, tuple[float | None, str]]:
    return {each.cell.label: (each.ratio, each.verdict) for each in joined(*found).outcomes}


def test_a_cost_is_measured_without_training_and_once_for_any_number_of_epochs() -> None:
    assert {line for cell in MADE.cells if cell.untrained for line in cell.run} >= {
        "schedule.epochs=0"
    }
    runs = {label: plan_run(cell.run).name for label, cell in CELLS.items()}
    assert runs["plain | 90 | MB"] == runs["plain | 200 | h"]
    assert runs["plain | 90 | error"] not in (runs["plain | 90 | MB"], runs["GradAug | 200 | MB"])
    assert "schedule.epochs=90" in CELLS["plain | 90 | MB"].overrides


def test_ours_is_divided_by_plain_training_that_was_measured_beside_it() -> None:
    found = judged(PLAIN, SLOW)
    assert found["GradAug | 200 | MB"] == (pytest.approx(1.03), "same ratio")  # 1.025
    assert found["GradAug | 200 | min"] == (pytest.approx(100 / 40), "same ratio")  # 2.77
    hours = (100 * 200) / (40 * 90)
    assert found["GradAug | 200 | h"] == (pytest.approx(hours), "same ratio")  # 6.15
    assert found["plain | 200 | h"] == (pytest.approx(36 * 200 / 35 / 90), "same ratio")
    assert found["plain | 90 | h"] == (pytest.approx(36 / 35), "reference")


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(24.0, "other ratio"), (25.0, "same ratio"), (30.4, "same ratio"), (30.6, "other ratio")],
)
def test_the_same_ratio_is_within_a_tenth_of_the_papers(seconds: float, verdict: str) -> None:
    found = judged(measured(GRADAUG.run, numbers(seconds, 10, 1, 1)))  # 61 over 22 is 2.773
    assert found["GradAug | 200 | min"][1] == verdict


def test_ours_is_in_the_papers_units() -> None:
    values = {each.cell.label: each.values for each in joined(SLOW).outcomes}
    assert values["GradAug | 200 | MB"] == {0: 1030}
    assert values["GradAug | 200 | min"] == {0: pytest.approx(100 / 60)}
    assert values["GradAug | 200 | h"] == {0: pytest.approx(100 * 200 / 3600)}


def test_on_a_cpu_there_is_no_memory() -> None:
    times = {name: value for name, value in numbers(100, 40, 1, 1).items() if "memory" not in name}
    found = judged(measured(GRADAUG.run, times))
    assert found["GradAug | 200 | MB"] == (None, "not run")
    assert found["GradAug | 200 | min"][1] == "same ratio"


def test_other_settings_of_the_measurement_are_shown_as_reduced() -> None:
    found = joined(measured(GRADAUG.run, numbers(100, 40, 1, 1), turns=3))
    (each,) = (o for o in found.outcomes if o.cell == GRADAUG)
    assert (each.verdict, each.reduced) == ("reduced", ("evaluation.cost.turns=3",))


def test_a_run_that_trains_nothing_is_no_short_run_of_another_number() -> None:
    found = {each.cell.label: each for each in joined(PLAIN).outcomes}
    assert found["plain | 90 | error"].verdict == "not run"


def test_costs_are_counted_apart_and_so_are_their_orderings() -> None:
    found = joined(PLAIN, SLOW)
    assert found.verdicts("authors") == {"not run": 1}
    assert found.verdicts("costs") == {"same ratio": 6, "reference": 3}
    assert found.ordering_verdicts == {}
    assert {k: v for k, v in found.cost_verdicts.items() if k.startswith("ordering")} == {
        "ordering holds": 1
    }
    text = summary([found], "rules")
    assert "| [paper/costs](paper/costs.md) | 10 | 6 |  | 3 |" in text


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(41.0, "undecided"), (30.0, "contradicted"), (80.0, "holds")]
)
def test_an_ordering_compares_ratios_also_of_other_machines(seconds: float, verdict: str) -> None:
    """Of plain training's 200 epochs it is 200 / 90."""
    plain = measured(ERM.run, numbers(4, 4, 1, 1), device="another")
    (found,) = joined(plain, measured(GRADAUG.run, numbers(seconds, 40, 1, 1))).orderings
    assert found.verdict == verdict


def test_an_ordering_of_costs_needs_both() -> None:
    (found,) = joined(PLAIN).orderings
    assert (found.verdict, found.gain) == ("not run", None)


def test_the_page_shows_both_ratios_and_the_device() -> None:
    text = page(joined(PLAIN, SLOW))
    assert (
        "| GradAug | 200 | min | 61 | 2.77 | 1.67 (1) | 2.50 | NVIDIA H200 | same ratio |" in text
    )
    assert "| plain | 90 | h | 33 | 1.00 | 0.90 (1) | 1.03 | NVIDIA H200 | reference |" in text
    assert "| plain | 90 | error | 3.8 | ± 0.38 |" in text
    two = page(joined(measured(GRADAUG.run, numbers(100, 40, 1, 1), ranks=2)))
    assert "| 2 x NVIDIA H200 |" in two


def test_seconds_of_other_machines_are_in_no_plot_and_have_no_interval() -> None:
    found = joined(PLAIN, SLOW)
    assert all(each.difference is None for each in found.outcomes)
    assert section(found)["plots"] == []


def test_a_sweep_plans_a_run_of_no_epochs_that_takes_no_hours(tmp_path: Path) -> None:
    places = f"out={tmp_path}", f"results={tmp_path}/results"
    sweep = Sweep([MADE], parse_request([*places, "+only=MB"]), compose_cached)
    assert len(sweep.jobs) == 2
    for job in sweep.jobs:
        assert {"evaluation=[cost]", "schedule.epochs=0"} <= set(job.overrides)
        assert not any("schedule.epochs=90" in line for line in job.overrides)
    assert all(sweep.programme.lengths[job.place].hours < 0.1 for job in sweep.jobs)


def test_fewer_epochs_do_not_reduce_what_is_not_trained(tmp_path: Path) -> None:
    places = f"out={tmp_path}", f"results={tmp_path}/results", "+only=MB"
    whole, short = (
        Sweep([MADE], parse_request([*places, *lines]), compose_cached)
        for lines in ((), ("schedule.epochs=2",))
    )
    assert [job.overrides for job in short.jobs] == [job.overrides for job in whole.jobs]
    other = Sweep([MADE], parse_request([*places, "optimizer.lr=0.5"]), compose_cached)
    for job in other.jobs:
        assert any(line.startswith("reduced=") for line in job.overrides)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({**COST, "measures": "memory", "over": ["plain", "91"]}, "over ... row ... plain | 91"),
        ({"measures": "memory", "evaluation": "cost"}, "over ... cost"),
        ({"over": ["plain", "90"]}, "over ... cost"),
        ({"measures": "memory", "over": ["plain", "90"]}, "measures ... hours ... cost ... memory"),
        ({**COST, "measures": "accuracy"}, "measures ... hours ... accuracy"),
    ],
)
def test_a_cost_needs_its_evaluation_and_what_it_is_divided_by(
    column: dict[str, Any], told: str
) -> None:
    rows = [{**row, "printed": ["1"]} for row in TREE["rows"]]
    tree = {**TREE, "columns": [{"label": "x", **column}], "rows": rows, "claims": []}
    with pytest.raises(ValueError, match=says(told)):
        Table("paper/wrong", tree)


@pytest.mark.parametrize(("name", "count"), [("gradaug/table2", 24), ("augmax/table7", 4)])
def test_the_papers_tables_of_costs_can_be_run(name: str, count: int) -> None:
    costs = [cell for cell in table.load(name).cells if cell.group == "costs"]
    assert len(costs) == count
    assert all(cell.trainable and cell.seeds == (0,) for cell in costs)
    assert all(plan_run(cell.run).config["schedule"]["epochs"] == 0 for cell in costs)
    assert {cell.over.row[0] for cell in costs if cell.over} <= {"Baseline", "Normal"}
