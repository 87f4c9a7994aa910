"""How many numbers are covered, judged, or wrong by chance, and how many runs agree."""

from typing import Any

from table_samples import ERM, MIXUP, TABLE, record, runs

from vicinal.tables.counts import by_chance, coverage, overview
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.runs import agreement, by_run
from vicinal.tables.table import Table


def test_the_coverage_counts_numbers_and_distinct_runs() -> None:
    assert "| paper | 1 | 3 | 2 | 2 | 0 | 0 | 0 |" in coverage([TABLE])


def test_the_coverage_says_of_each_table_why_numbers_cannot_be_run() -> None:
    """The most frequent reason first; nothing is said where every number can be run."""
    columns = [
        *TABLE.tree["columns"],
        {"label": "Detector", "unavailable": "No weights were published."},
        {"label": "Other", "unavailable": "No weights were published."},
    ]
    rows = [{"label": "CIFAR-10", "printed": ["3.8", "2.7", "1.0", "5.0", "6.0"]}]
    text = coverage([Table("paper/more", {**TABLE.tree, "columns": columns, "rows": rows})])
    lines = [line for line in text.splitlines() if line.startswith("| paper/more")]
    assert lines == [
        "| paper/more | 2 | 5 | No weights were published. |",
        "| paper/more | 1 | 5 | Too large. |",
    ]
    whole = {**TABLE.tree, "columns": columns[:2], "rows": [{"label": "a", "printed": ["1", "2"]}]}
    assert "why" not in coverage([Table("paper/whole", {**whole, "claims": []})])


def test_the_runs_that_others_begin_with_or_attack_are_counted_once() -> None:
    own = {"columns": TABLE.tree["columns"][:2], "claims": []}
    own |= {"rows": [{"label": "CIFAR-10", "printed": ["3.8", "2.7"]}]}
    begun = {**TABLE.tree, **own, "start": ["method=erm", "schedule.epochs=3"]}
    assert "| paper | 1 | 2 | 2 | 3 |" in coverage([Table("paper/begun", begun)])
    more = {"evaluation": "black_box", "source": ["method=erm"]}
    assert "| paper | 1 | 2 | 2 | 2 |" in coverage(
        [Table("paper/attacked", TABLE.tree | own | more)]
    )


def test_a_definition_is_neither_run_nor_unavailable() -> None:
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
    assert quoted.verdicts("quoted") == {"not run": 2, "unavailable": 1}


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


def reading(name: str, seed: int, *perplexities: float) -> dict[str, Any]:
    """The record of a language model: perplexities at the last epoch, of ten, and of the best."""
    reports = zip(("last", "median10", "best_test"), perplexities, strict=True)
    return {
        "name": name,
        "seed": seed,
        "config": {"schedule": {"epochs": 9}},
        "metrics": {key: {"nll": 4.0, "perplexity": value} for key, value in reports},
    }


def test_perplexities_stand_beside_accuracies_and_are_called_so() -> None:
    name = "ptb/awd_lstm/maxup_words/0"
    text = by_run([reading(name, 0, 60.0, 61.0, 58.0), reading(name, 1, 62.0, 61.0, 58.0)])
    numbers = ("perplexity 61.00 ± 1.41", "perplexity 61.00 ± 0.00", "perplexity 58.00 ± 0.00")
    assert f"| {' | '.join((*name.split('/'), '9', '2', *numbers))} |" in text
    failed = by_run([reading(name, 0, 1, 1, 1) | {"failed": "not finite"}])
    assert "0, 1 failed |  |  |  |" in failed


def test_perplexities_are_compared_apart_from_accuracies() -> None:
    name = "ptb/awd_lstm/next_word/0"
    ours = [*runs(ERM.overrides, 3.7), *(reading(name, seed, 60.0, 1, 1) for seed in (0, 1))]
    theirs = [*runs(ERM.overrides, 3.7), reading(name, 0, 60.0, 2, 2), reading(name, 1, 55.0, 1, 1)]
    one, two = agreement(ours, theirs).splitlines()
    assert one == "1 of 1 runs have the recorded accuracy to the last digit"
    assert two.startswith("1 of 2 runs have the recorded perplexity")
    assert two.endswith("the largest difference is 5.00")
