"""How many numbers are covered, judged, or wrong by chance, and how many runs agree."""

from table_samples import ERM, MIXUP, TABLE, record, runs

from vicinal.tables.counts import by_chance, coverage, overview
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.runs import agreement
from vicinal.tables.table import Table


def test_the_coverage_counts_numbers_and_distinct_runs() -> None:
    assert "| paper | 1 | 3 | 2 | 2 | 0 | 0 | 0 |" in coverage([TABLE])
    assert "| language models | 1 |" in coverage([TABLE])


def test_a_definition_is_neither_run_nor_waited_for() -> None:
    rows = [{"label": "CIFAR-10", "printed": [{"printed": "100.00", "definition": True}, "1", "2"]}]
    made = Table("paper/defined", {**TABLE.tree, "rows": rows})
    joined = TableResults.of(made, RecordIndex([]))
    assert joined.outcomes[0].verdict == "definition"
    assert joined.exact_verdicts == {"definition": 1}
    assert "| paper | 1 | 3 | 1 | 1 | 0 | 1 | 0 |" in coverage([made])


def test_quoted_numbers_are_counted_apart() -> None:
    rows = [{**TABLE.tree["rows"][0], "quoted": "Zagoruyko"}]
    quoted = TableResults.of(Table("paper/quoted", {**TABLE.tree, "rows": rows}), RecordIndex([]))
    assert quoted.verdicts("authors") == {}
    assert quoted.verdicts("quoted") == {"not run": 2, "waits": 1}


def test_the_verdicts_that_chance_makes_stand_beside_the_counts() -> None:
    expected = by_chance({"reproduced": 30, "worse": 10, "off (one run)": 20, "undecided": 80})
    assert expected["better"] == expected["worse"] == expected["reproduced"] == 1
    assert (expected["off (one run)"], expected["holds"], expected["contradicted"]) == (1, 2, 2)
    judged = TableResults.of(TABLE, RecordIndex(runs(ERM.overrides, 3.75, 3.8, 3.85)))
    assert "| by chance alone, at most | 0.0 | 0.0 | 0.0 |" in overview([judged])


def test_two_sets_of_records_are_compared_run_by_run() -> None:
    theirs = runs(ERM.overrides, 3.7, 3.8, 3.9)
    bad = {**record(ERM.overrides, 0, 0.0), "failed": "loss is not finite"}
    text = agreement([*runs(ERM.overrides, 3.7, 4.05), *runs(MIXUP.overrides, 1.0)], [*theirs, bad])
    assert text.startswith("1 of 2 runs have the recorded accuracy")
    assert text.endswith("the largest difference is 0.25 points")
