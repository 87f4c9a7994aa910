"""What a table's page says of each number, the same bytes every time."""

from table_samples import ERM, MIXUP, TABLE, record, runs

from vicinal.tables.counts import summary
from vicinal.tables.markdown import page
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.table import Table


def test_the_same_records_give_the_same_bytes_in_any_order() -> None:
    known = [*runs(ERM.overrides, 3.7, 3.8, 3.9), *runs(MIXUP.overrides, 2.6, 2.7)]
    one, two = (TableResults.of(TABLE, RecordIndex(order)) for order in (known, known[::-1]))
    assert page(one) == page(two)
    assert summary([one], "rules") == summary([two], "rules")


def test_a_page_says_what_is_known_of_each_number() -> None:
    bad = {**record(ERM.overrides, 2, 0.0), "failed": "loss is not finite"}
    known = RecordIndex([*runs(ERM.overrides, 3.7, 3.9), bad])
    text = page(TableResults.of(TABLE, known))
    ours = "± 0.38 | 3.80 ± 0.14 (2, 1 failed) | +0.00 ± 2.23 | ours | no | no | inconclusive |"
    assert f"| CIFAR-10 | ERM | 3.8 | {ours}" in text
    assert "| CIFAR-10 | mixup | 2.7 | ± 0.27 |  |  |  |  |  | not run |" in text
    assert "| CIFAR-10 | GAN | 1.0 |  |  |  |  |  |  | unavailable: Too large. |" in text


def test_an_interim_verdict_says_how_many_seeds_it_rests_on() -> None:
    text = page(TableResults.of(TABLE, RecordIndex(runs(ERM.overrides, 5.78, 5.8))))
    assert "| worse | no | interim: worse so far (2 of 3 seeds) |" in text


def test_a_page_says_which_devices_made_its_numbers() -> None:
    gpu = {"ranks": 2, "device": {"type": "cuda"}, "runtime": {"precision": "bf16"}}
    found = runs(ERM.overrides, 3.8, 3.9, sessions=[gpu])
    made = Table("paper/made", {**TABLE.tree, "gpus": 8})
    text = page(TableResults.of(made, RecordIndex(found)))
    theirs = "paper: 8 GPUs, each normalising its own share of a batch"
    assert f"- ours: bf16 on 2 GPUs; {theirs} (CIFAR-10, ERM)" in text
    assert f"- {theirs} (CIFAR-10, mixup; CIFAR-10, GAN)" in text
