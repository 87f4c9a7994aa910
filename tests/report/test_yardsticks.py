"""Attacked numbers stand beside the yardstick, and what checks say stands under them."""

from typing import Any

import pytest
from attacked_samples import (
    ERM,
    HEADING,
    MASKED,
    MIXUP,
    attacked,
    both,
    entry,
    pgd,
    rows,
    section,
    yardstick,
)
from report_samples import record

from vicinal.loggers.evaluations import warnings
from vicinal.report.attacks import attacks
from vicinal.report.yardsticks import ball


def test_a_weak_attack_stands_beside_the_yardstick() -> None:
    head, erm, mixup = rows(section(both()))
    under = ["fgsm L\u221e 4/255", "pgd L\u221e 4/255"]
    assert head == ["method", "seeds", "clean", *under, HEADING]
    assert erm[:3] == ["erm", "2", "95.00 ± 1.41"]
    assert erm[3:] == ["41.00 ± 1.41", "11.00 ± 1.41", "0.60 ± 0.14 (2)"]
    assert mixup == ["mixup", "1", "97.00", "75.00", "20.00", "not measured"]


def test_a_yardstick_on_another_report_is_not_beside_it() -> None:
    found = [record(ERM, 0, 5.0, attacked(94.0, {"fgsm": 40.0}), yardstick(0.5, "best_test"))]
    _, erm = rows(section(found))
    assert erm[-1] == "not measured"
    alone, beside = sorted(attacks(found), key=lambda panel: panel["report"])
    assert [row["yardsticks"] for row in alone["rows"]] == [["0.50 (1)"]]
    assert [row["yardsticks"] for row in beside["rows"]] == [[None]]


def test_yardsticks_with_other_settings_have_columns_of_their_own() -> None:
    l2 = {"apgd": pgd(0.5, "l2")}
    under = {"fgsm": 40.0}
    found = [
        record(ERM, 0, 5.0, attacked(94.0, under), yardstick(0.5), yardstick(9.0, attacks=l2)),
        record(ERM, 1, 5.0, attacked(94.0, under), yardstick(8.0, images=None)),
        record(MIXUP, 0, 5.0, attacked(97.0, under), yardstick(0.1), autoattack(0.0)),
    ]
    head, erm, mixup = rows(section(found))
    shown = {name: (one, two) for name, one, two in zip(head[4:], erm[4:], mixup[4:], strict=True)}
    assert shown == {
        "APGD + Square, 1,000 images L\u221e 8/255": ("0.50 (1)", "0.10 (1)"),
        "APGD + Square, all images L\u221e 8/255": ("8.00 (1)", "not measured"),
        "APGD, 1,000 images L2 0.5": ("9.00 (1)", "not measured"),
        "AutoAttack, 1,000 images L\u221e 8/255": ("not measured", "0.00 (1)"),
    }


def autoattack(robust: float) -> dict[str, Any]:
    config = {"epsilon": 8 / 255, "norm": "linf", "images": 1000, "batch_size": 250}
    target = "vicinal.evaluation.autoattack.AutoAttack"
    metrics = {"clean_top1": 95.0, "robust_accuracy": robust}
    return entry("autoattack", metrics, _target_=target, **config)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (pgd(4 / 255), "L\u221e 4/255"),
        (pgd(0.2), "L\u221e 0.2"),
        (pgd(0.1234), "L\u221e 0.1234"),
        (pgd(0.5, "l2"), "L2 0.5"),
        (pgd(8 / 255, "l2"), "L2 8/255"),
        (pgd(0.05, units="normalized"), "L\u221e 0.05 normalised"),
    ],
)
def test_an_attack_says_how_far_it_moves_images(attack: dict[str, Any], said: str) -> None:
    assert ball(attack) == said


def test_a_run_with_a_yardstick_alone_has_a_panel() -> None:
    head, erm = rows(section([record(ERM, 0, 5.0, yardstick(0.5))]))
    turns = ["APGD L\u221e 8/255", "then Square L\u221e 8/255"]
    assert head == ["method", "seeds", "clean", *turns, HEADING]
    assert erm == ["erm", "1", "95.00", "0.60", "0.50", "0.50 (1)"]
    (panel,) = attacks(both())
    assert panel["evaluation"].name == "attacked"


def test_what_a_check_says_stands_under_its_row() -> None:
    found = both()
    found[2] = record(MIXUP, 0, 5.0, attacked(97.0, {"fgsm": 75.0, "pgd": 20.0}, **MASKED))
    (said,) = warnings(MASKED)
    lines = rows(section(found))
    assert len(lines) == 4
    assert lines[3] == [f"mixup: {said}"] * 6
    found[0] = record(
        ERM, 0, 5.0, attacked(94.0, {"fgsm": 1.0, "pgd": 1.0}), yardstick(0.5, **MASKED)
    )
    assert [row[0] for row in rows(section(found))[1:]] == [
        "erm",
        f"erm: {said}",
        "mixup",
        f"mixup: {said}",
    ]
