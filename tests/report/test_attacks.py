"""Accuracy under attacks is seen by method; other settings stand apart."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import measured_samples
import pytest
from attacked_samples import ERM, MIXUP, attacked, both, rows, section, yardstick
from report_samples import HOSTILE, Read, record, small

from vicinal.report.attacks import attacks
from vicinal.report.page import page


def test_different_settings_have_different_panels() -> None:
    under = {"fgsm": 40.0}
    found = [
        record(ERM, 0, 5.0, attacked(94.0, under)),
        record(ERM, 1, 5.0, attacked(94.0, under, report="best_test")),
        record(ERM, 2, 5.0, attacked(94.0, {"pgd": 40.0})),
        record(ERM, 3, 5.0, attacked(94.0, under, [0.1])),
        record(ERM, 4, 5.0, attacked(94.0, under, source=(MIXUP, 0))),
        record("cifar10/resnet18/erm/1", 0, 5.0, attacked(94.0, under)),
        record("svhn/wrn28_10/erm/1", 0, 5.0, attacked(94.0, under)),
    ]
    panels = attacks(found)
    assert len({panel["id"] for panel in panels}) == len(panels) == 7
    assert all(len(panel["rows"]) == 1 for panel in panels)


def test_a_black_box_names_the_run_that_made_its_examples_whose_seeds_are_averaged() -> None:
    found = [
        record(ERM, 0, 5.0, attacked(94.0, {"fgsm": 40.0}, source=(ERM, 1))),
        record(ERM, 1, 5.0, attacked(94.0, {"fgsm": 42.0}, source=(ERM, 0))),
        record(MIXUP, 1, 5.0, attacked(94.0, {"fgsm": 60.0}, source=(ERM, 0))),
        record(MIXUP, 2, 5.0, attacked(94.0, {"fgsm": 99.0}, source=(MIXUP, 0))),
    ]
    first, second = (page_of(found, name) for name in (ERM, MIXUP))
    assert f"made on the network of {ERM}, seeds 0, 1." in Read(first).text
    assert [row[3] for row in rows(first)[1:]] == ["41.00 ± 1.41", "60.00"]
    assert f"made on the network of {MIXUP}, seed 0." in Read(second).text
    assert [row[3] for row in rows(second)[1:]] == ["99.00"]


def page_of(found: Sequence[dict[str, Any]], source: str) -> str:
    """The panel of attacks from one run's network."""
    parts = section(found).split('class="table"')[1:]
    (panel,) = [part for part in parts if f"<code>{source}</code>" in part]
    return panel


def test_accuracies_along_a_curve_stand_below_their_attack_and_epsilon() -> None:
    epsilons = [8 / 255, 0.1, 0.25]
    found = [record(ERM, 0, 5.0, attacked(94.0, {"a": 80.0, "b": 60.0}, epsilons))]
    attack, epsilon, erm = rows(section(found))
    names = [f"{name} L\u221e, ε =" for name in "aaabbb"]
    assert attack == ["method", "seeds", "clean", *names, "APGD + Square, 1,000 images"]
    assert epsilon[3:-1] == ["8/255", "0.1", "0.25"] * 2
    assert erm[3:-1] == ["76.86", "70.00", "55.00", "56.86", "50.00", "35.00"]


def test_a_curve_goes_from_the_clean_accuracy_through_that_at_each_epsilon() -> None:
    epsilons = [0.05, 0.1, 0.25]
    found = [
        record(ERM, 0, 5.0, attacked(94.0, {"a": 80.0, "b": 60.0}, epsilons)),
        record(ERM, 1, 5.0, attacked(96.0, {"a": 82.0, "b": 62.0}, epsilons)),
        record(MIXUP, 0, 5.0, attacked(97.0, {"a": 90.0, "b": 70.0}, epsilons)),
    ]
    (panel,) = attacks(found)
    assert [chart["title"] for chart in panel["charts"]] == ["a", "b"]
    for chart, top1 in zip(panel["charts"], (81.0, 61.0), strict=True):
        axes, (erm, mixup) = chart["axes"], chart["curves"]
        numbers = [int(number) for number in re.findall(r"-?\d+", erm["line"])]
        steps = list(zip(numbers[::2], numbers[1::2], strict=True))
        for i, (at, accuracy) in enumerate([(0, 95), *((e, top1 - 100 * e) for e in epsilons)]):
            place = tuple(sum(each) / 10 for each in zip(*steps[: i + 1], strict=True))
            assert place == pytest.approx((axes.x(at), axes.y(accuracy)), abs=0.11)
        assert (erm["name"], mixup["name"]) == ("erm", "mixup")
        assert erm["number"] == f"{top1 - 25:.2f}"


def test_a_few_epsilons_are_no_curve() -> None:
    found = [record(ERM, 0, 5.0, attacked(94.0, {"a": 80.0}, [0.05, 0.1]))]
    assert attacks(found)[0]["charts"] == []
    assert attacks(both())[0]["charts"] == []


def test_runs_of_one_method_are_told_apart_and_reduced_ones_say_so() -> None:
    under = {"fgsm": 1.0, "pgd": 1.0}
    short = record("cifar10/wrn28_10/mixup/3", 0, 5.0, attacked(97.0, under), reduced=("a=1",))
    (panel,) = attacks([*both(), short])
    assert [row["name"] for row in panel["rows"]] == ["erm", "mixup, 2", "mixup, 3 (reduced)"]


def test_tables_have_headings_and_plots_have_titles() -> None:
    found = Read(section([record(ERM, 0, 5.0, attacked(94.0, {"a": 80.0}, [0.05, 0.1, 0.2]))]))
    heads = [attributes.get("scope") for name, attributes in found.elements if name == "th"]
    assert set(heads) == {"col", "colgroup", "row"}
    names = Counter(name for name, _ in found.elements)
    assert names["caption"] == names["table"] > 1
    (label,) = [each for each in found.all("aria-label") if each.startswith("Accuracy")]
    assert label == "Accuracy under a over ε, cifar10, wrn28_10: erm ends at 60.00 %"


def test_attacks_are_listed_after_corruptions_and_every_panel_can_be_linked_to() -> None:
    corrupted = record(ERM, 9, 5.0, measured_samples.entry(measured_samples.corrupted(70.0)))
    found = Read(page([small()], [*both(), corrupted, record(ERM, 8, 5.0, yardstick(0.5))], ""))
    ids, links = found.all("id"), found.all("href")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    for places in (ids, [link[1:] for link in links]):
        assert places.index("corruptions") < places.index("attacks") < places.index("others")


def test_without_attacks_nothing_is_printed() -> None:
    body = page([small()], [record(ERM, 0, 5.0)], "").split("</style>")[1]
    assert "ttacks" not in body


def test_names_are_never_markup() -> None:
    odd = HOSTILE.replace("/", "")
    name = f"cifar10/{odd}/{odd}/1"
    markup = section([record(name, 0, 5.0, attacked(94.0, {odd: 1.0}, source=(name, 1)))])
    assert "<img" not in markup
    assert odd in Read(markup).text


def test_the_same_records_give_the_same_bytes() -> None:
    shuffled = random.Random(0).sample(both(), 3)
    assert section(both()) == section(shuffled)
