"""What is left of several tables: in which order, for how long, and what of it fits."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from table_samples import record
from wording import says

from vicinal.errors import RunError
from vicinal.evaluation.evaluation import Counted
from vicinal.storage import records
from vicinal.tables.lengths import BEGIN
from vicinal.tables.plan import compose_cached, plan_run
from vicinal.tables.request import parse_request
from vicinal.tables.sweep import Sweep
from vicinal.tables.table import Table

COMMON = ["dataset=cifar10", "model=wrn10_2"]


def made(name: str, *methods: str, **more: Any) -> Table:
    columns = [{"label": method, "run": [f"method={method}"]} for method in methods]
    rows = [{"label": "CIFAR-10", "printed": ["1.0"] * len(methods)}]
    tree = {"caption": "Test error", "run": COMMON, "stub": ["Data"], "seeds": [0, 1]}
    return Table(name, tree | {"columns": columns, "rows": rows} | more)


FIRST, SECOND = made("paper/first", "erm", "mixup"), made("paper/second", "mixup", "maxup_cutout")
BEGUN = made("paper/begun", "mixup", start=["method=erm"])
ATTACKED = made("paper/attacked", "mixup", source=["method=erm"], evaluation="black_box")


def name(method: str) -> str:
    return plan_run((*COMMON, f"method={method}")).name


ERM, MIXUP, MAXUP = map(name, ("erm", "mixup", "maxup_cutout"))


def planned(folder: Path, *tables: Table, typed: str = "") -> Sweep:
    places = (f"out={folder}/runs", f"results={folder}/results")
    return Sweep(tables, parse_request([*places, *typed.split()]), compose_cached)


def left(folder: Path, method: str, seed: int, seconds: float) -> None:
    """A finished run."""
    found = record((*COMMON, f"method={method}"), seed, 5.0, evaluations={})
    found |= {"sessions": [{"device": {"type": "cuda"}}], "timing": {"seconds_per_epoch": seconds}}
    copy = records.published(str(folder / "results"), found["name"], seed)
    for path in (folder / "runs" / found["name"] / f"seed{seed}" / "record.json", copy):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))


def table_of(plan: str, row: str) -> list[str]:
    """A line of a plan's columns."""
    (line,) = [each for each in plan.splitlines() if each.strip().startswith(f"{row} ")]
    return line.split()[1:]


def test_a_run_that_two_tables_share_counts_in_both_and_once_in_the_sum(tmp_path: Path) -> None:
    plan = planned(tmp_path, FIRST, SECOND).plan()
    hours = [float(table_of(plan, row)[2]) for row in ("paper/first", "paper/second", "all")]
    runs, numbers = (
        [table_of(plan, row)[i] for row in ("paper/first", "paper/second", "paper", "all")]
        for i in (0, 3)
    )
    assert (runs, numbers) == (["4", "4", "6", "6"], ["2", "2", "4", "4"])
    assert hours[2] < sum(hours[:2])


def test_what_is_finished_is_not_left(tmp_path: Path) -> None:
    for seed in (0, 1):
        left(tmp_path, "erm", seed, 9.0)
    plan = planned(tmp_path, FIRST, SECOND).plan()
    assert table_of(plan, "paper/first")[0::3] == ["2", "1"]
    assert table_of(plan, "all")[0::3] == ["4", "3"]
    assert re.search(says("6 runs: 2 finished, 4 missing"), plan)


def test_quoted_numbers_are_counted_among_the_others(tmp_path: Path) -> None:
    rows = [{**FIRST.tree["rows"][0], "quoted": "Zagoruyko"}]
    quoted = Table("paper/quoted", {**FIRST.tree, "rows": rows})
    assert table_of(planned(tmp_path, quoted, SECOND).plan(), "all")[-1] == "2"


def test_the_hours_of_earlier_runs_are_told_from_estimates(tmp_path: Path) -> None:
    left(tmp_path, "erm", 0, 36.0)  # 200 epochs, so two hours
    sweep = planned(tmp_path, FIRST)
    total = sum(length.hours for length in sweep.programme.lengths.values())
    said = re.search(r"([\d.]+) GPU-hours left: ([\d.]+) by .* ([\d.]+) estimated", sweep.plan())
    assert said is not None
    assert [float(each) for each in said.groups()] == pytest.approx([total, 2, total - 2], abs=0.1)


def test_a_shared_run_comes_first_and_a_first_seed_before_second_ones(tmp_path: Path) -> None:
    sweep = planned(tmp_path, FIRST, SECOND)
    assert [job.place for job in sweep.jobs] == [
        (MIXUP, 0),
        (ERM, 0),
        (MAXUP, 0),
        (MIXUP, 1),
        (ERM, 1),
        (MAXUP, 1),
    ]
    (line,) = [each for each in sweep.plan().splitlines() if each.startswith(f"{MIXUP} seed=0")]
    assert line.split()[2] == "2"
    assert line.endswith("paper/first, paper/second")


def test_every_run_is_listed_of_one_table_and_of_several_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    for tables, typed, listed in (
        ((FIRST,), "", True),
        ((FIRST, SECOND), "", False),
        ((FIRST, SECOND), "+runs=true", True),
    ):
        plan = planned(tmp_path, *tables, typed=typed).plan()
        assert (f"  {ERM}: 2 missing" in plan) == listed


def test_a_plan_is_cut_to_what_fits(tmp_path: Path) -> None:
    whole = planned(tmp_path, FIRST, SECOND).programme
    each = {place: length.hours for place, length in whole.lengths.items()}
    two = each[MIXUP, 0] + each[ERM, 0]
    sweep = planned(tmp_path, FIRST, SECOND, typed=f"+hours={1.01 * two}")
    assert {job.place for job in sweep.unfinished} == {(MIXUP, 0), (ERM, 0)}
    (first, then) = sweep.stages()
    assert [job.place for job, _ in first] == [(MIXUP, 0), (ERM, 0)]
    assert not then
    assert re.search(says("2 runs fit ... on 1 GPU ... left out: 4 runs"), sweep.plan())
    assert len(planned(tmp_path, FIRST, SECOND, typed="+hours=99 +gpus=2").unfinished) == 6


def test_a_run_that_begins_with_another_is_cut_with_it(tmp_path: Path) -> None:
    whole = planned(tmp_path, BEGUN).programme
    hours = [whole.lengths[job.place].hours for job in whole.jobs if job.seed == 0]
    assert len(hours) == 2
    short, both = max(hours) * 1.01, sum(hours) * 1.01
    assert not planned(tmp_path, BEGUN, typed=f"seed=0 +hours={short} +gpus=2").unfinished
    first, then = planned(tmp_path, BEGUN, typed=f"seed=0 +hours={both} +gpus=2").stages()
    assert [job.run.name for job, _ in first] == [ERM]
    assert [any("init.name" in line for line in lines) for _, lines in then] == [True]


def test_a_run_whose_source_is_cut_is_trained_without_its_attack(tmp_path: Path) -> None:
    """mixup is worth its training alone; the attack needs the run of another method, too."""
    whole = planned(tmp_path, SECOND, ATTACKED, typed="seed=0").programme
    alone = whole.lengths[MIXUP, 0].hours * 1.01
    sweep = planned(tmp_path, SECOND, ATTACKED, typed=f"seed=0 +hours={alone}")
    first, then = sweep.stages()
    assert [job.place for job, _ in first] == [(MIXUP, 0)]
    assert not any("black_box" in line for _, lines in first for line in lines)
    assert not then


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("+hours=0", "hours must ... above 0, got 0"),
        ("+hours=soon", "hours must ... got soon"),
        ("+hours=1,2", "hours must ... got 1,2"),
        ("+hours=inf", "hours must ... got inf"),
        ("+hours=true", "hours must ... got true"),
        ("+hours=8 +gpus=0", "gpus must ... whole number above 0, got 0"),
        ("+hours=8 +gpus=1.5", "gpus must ... got 1.5"),
        ("+gpus=4", "gpus needs hours"),
        ("+runs=many", "runs must be true or false, got many"),
        ("+dry_run=maybe", "dry_run must be true or false, got maybe"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(typed: str, told: str) -> None:
    with pytest.raises(RunError, match=says(told)):
        parse_request(typed.split())


def test_evaluations_take_hours(tmp_path: Path) -> None:
    """One attack of one step: a forward without it, three for it and one after it, per image."""
    one, other = (
        planned(tmp_path, made("paper/attacked", "erm", evaluation=each), typed="seed=0")
        for each in ("white_box", "fgsm_patchup")
    )
    found = []
    for sweep in (one, other):
        (length,) = sweep.programme.lengths.values()
        assert length.cost is not None
        found.append(length.hours - BEGIN - length.cost.hours)
    assert found[0] / found[1] == pytest.approx((1 + 4 + 31) / (1 + 7 * 4), rel=1e-3)


@pytest.mark.parametrize(
    ("evaluation", "passes"),
    [
        ("certified", 500 * 100_100),
        ("corrupted", 75 * 10_000),
        ("fgsm", (1 + 15 * (3 * 1 + 1)) * 10_000),
        ("white_box", (1 + (3 * 1 + 1) + (3 * 10 + 1)) * 10_000),
        ("yardstick", (1 + (3 * 101 + 1) + (5001 + 1)) * 1000),
        ("spatial", 11 * 10_000),
        ("clean", 10_000),
    ],
)
def test_an_evaluation_counts_its_forward_passes(evaluation: str, passes: int) -> None:
    found = built(evaluation)
    assert isinstance(found, Counted)
    assert found.passes(10_000) == passes


def built(evaluation: str) -> Any:
    config = compose_cached((*COMMON, "method=erm", f"evaluation={evaluation}"))[0]
    node = config.evaluation[evaluation]
    if evaluation == "certified":
        node.sigma = 0.25
    return instantiate(node, _convert_="all")
