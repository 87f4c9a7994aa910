"""All evaluations side by side: equal settings are averaged, others never are."""

import random
from pathlib import Path

import pytest
from measured_samples import corrupted, entry
from report_samples import record

from vicinal.commands.tables import pages
from vicinal.tables.measured import HEAD, by_evaluation, measured

NAME = "digits/wrn10_2/erm/0123"


def rows(*records: dict) -> list[dict[str, str]]:
    head, _, *lines = by_evaluation(records).splitlines()
    assert head == f"| {' | '.join(HEAD)} |"
    return [dict(zip(HEAD, line[2:-2].split(" | "), strict=True)) for line in lines]


def test_a_row_has_the_mean_and_deviation_over_seeds() -> None:
    found = [record(NAME, seed, 5.0, entry(corrupted(70.0 + 2 * seed))) for seed in (0, 1)]
    (row,) = rows(*found, record(NAME, 2, 5.0))
    assert "/".join([*row.values()][:4]) == NAME
    assert (row["evaluation"], row["report"], row["settings"]) == ("cifar10_c", "last", "a" * 12)
    assert row["seeds"] == "2"
    expected = "robust_accuracy 61.00 ± 1.41, robust_accuracy_without_noise 60.00 ± 1.41"
    assert row["numbers"] == expected
    assert row["remarks"] == ""


def test_small_numbers_keep_four_digits() -> None:
    numbers = {"c": 0.012345, "loss": 1.2345, "none": 0.0, "miss": 100.0}
    (row,) = rows(record(NAME, 0, 5.0, entry(numbers)))
    assert row["numbers"] == "c 0.01235, loss 1.23, none 0.00, miss 100.00"


def test_settings_reports_and_runs_are_never_averaged() -> None:
    published, generated = entry({"mce": 10.0}), entry({"mce": 20.0}, sets="generated")
    best = entry({"mce": 30.0}, report="best_test")
    one = record(NAME, 0, 5.0, published, generated, best)
    other = record(f"{NAME}4", 0, 5.0, entry({"mce": 40.0}), reduced=("schedule.epochs=1",))
    found = rows(record(NAME, 1, 5.0, generated), other, one)
    told = [(row["report"], row["seeds"], row["numbers"], row["remarks"]) for row in found]
    assert told == [
        ("best_test", "1", "mce 30.00", ""),
        ("last", "1", "mce 10.00", ""),
        ("last", "2", "mce 20.00 ± 0.00", "generated"),
        ("last", "1", "mce 40.00", "reduced"),
    ]


@pytest.mark.parametrize(
    ("name", "sets", "generated"),
    [
        ("cifar10_c", "published", False),
        ("cifar10_c", "generated", True),
        ("corrupted", "published", True),
    ],
)
def test_sets_are_generated_by_their_class_or_by_the_name_of_their_evaluation(
    name: str, sets: str, generated: bool
) -> None:
    (found,) = measured([record(NAME, 0, 5.0, entry({"mce": 1.0}, name, sets))])
    assert found.generated is generated


def test_a_number_that_a_seed_lacks_is_not_averaged() -> None:
    seeds = [
        record(NAME, 0, 5.0, entry({"top1": 1.0, "top5": 2.0})),
        record(NAME, 1, 5.0, entry({"top1": 3.0})),
    ]
    (row,) = rows(*seeds)
    assert row["numbers"] == "top1 2.00 ± 1.41"


def test_where_nothing_was_measured_there_is_no_table() -> None:
    failed = {"name": NAME, "seed": 1, "config": {}, "failed": "loss is not finite"}
    assert by_evaluation([record(NAME, 0, 5.0), failed]) == ""
    assert by_evaluation([]) == ""


def test_the_page_of_evaluations_is_written_where_there_are_any() -> None:
    name = Path("tables", "evaluations.md")
    found = [record(NAME, 0, 5.0, entry({"mce": 1.0}))]
    text = pages([], found)[name]
    assert text.endswith(f"\n\n{by_evaluation(found)}")
    assert name not in pages([], [record(NAME, 0, 5.0)])


def test_the_same_records_give_the_same_bytes_in_any_order() -> None:
    found = [
        record(NAME, seed, 5.0, entry({"mce": seed}), entry({"top1": 1.0}, "a"))
        for seed in range(4)
    ]
    shuffled = random.Random(0).sample(found, len(found))
    assert by_evaluation(found) == by_evaluation(shuffled)
