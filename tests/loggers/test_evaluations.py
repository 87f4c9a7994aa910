"""Which of an evaluation's numbers stand for the whole."""

import itertools
import random
from collections.abc import Sequence

import pytest
from measured_samples import KINDS, corrupted, entry

from vicinal.loggers.evaluations import headline, named

SHIFTED = [f"{set_}_{key}" for set_ in KINDS for key in ("top1", "nll", "ece")]
STAGES = [f"stage{i}" for i in (1, 2, 3)]
LAMBDAS = [f"{step / 10:g}" for step in range(11)]


@pytest.mark.parametrize(
    ("parts", "wholes"),
    [
        ([], ["test_top1", "test_nll", "test_ece"]),
        ([], ["top1", "first_1000_top1"]),
        (SHIFTED, ["mean_top1", "mean_nll"]),
        ([f"{key}_{at}" for key in ("miss", "gradient") for at in LAMBDAS], ["miss", "gradient"]),
        (
            [f"{stage}_q{at}" for stage in STAGES for at in LAMBDAS],
            [f"{stage}_mean" for stage in STAGES],
        ),
        (
            [f"v{i}_{key}" for i in (4, 6) for key in ("top1", "top5", "nll", "ece")]
            + [f"v{i}_batch_mean_top1" for i in (4, 6)],
            ["mean_top1", "mean_nll"],
        ),
    ],
    ids=["own splits", "spatial", "shifted", "between", "activations", "collected again"],
)
def test_a_part_does_not_stand_for_the_whole(parts: list[str], wholes: list[str]) -> None:
    names = [*parts, *wholes]
    random.Random(0).shuffle(names)
    assert sorted(headline(dict.fromkeys(names, 1.0))) == sorted(wholes)


@pytest.mark.parametrize("baseline", [True, False])
def test_the_means_over_corruptions_stand_for_all_of_them(baseline: bool) -> None:
    means = ["robust_accuracy", "robust_accuracy_without_noise", "extra_accuracy"]
    means += ["mce", "mce_without_noise"] if baseline else []
    assert sorted(headline(corrupted(70.0, baseline) | {"extra_accuracy": 60.0})) == sorted(means)


def test_where_no_number_is_of_the_whole_a_few_of_the_shortest_are_shown() -> None:
    shown = headline(corrupted(70.0, kinds=("fog", "gaussian_noise", "snow")))
    assert shown[:2] == ["fog_top1", "snow_top1"]
    assert len(shown) == 8
    assert headline({}) == []


def attacked(parts: Sequence[str], *more: str) -> list[str]:
    """The numbers of attacks, in the order of records."""
    checks = ("zero_gradients", "random_logits", "probabilities")
    numbers = (f"{part}_{number}" for part in parts for number in ("top1", *more))
    return sorted(["clean_top1", *checks, *numbers])


@pytest.mark.parametrize("attacks", [["fgsm", "pgd"], ["a", "b", "c", "d"], [*"abcdefg"]])
def test_accuracy_under_attacks_comes_before_what_only_some_attacks_have(
    attacks: list[str],
) -> None:
    shown = headline(attacked(attacks, "l2", "linf", "top5"))
    accuracies = ["clean_top1", *(f"{name}_top1" for name in attacks)]
    assert sorted(shown[: 1 + len(attacks)]) == sorted(accuracies)
    assert len(attacks) < 4 or len(shown) == 1 + len(attacks)


def test_checks_of_attacks_never_stand_for_their_numbers() -> None:
    checks = ["zero_gradients", "random_logits", "probabilities", "clean_probabilities"]
    left = ["apgd_top1", "clean_top1", "robust_accuracy", "square_top1"]
    assert sorted(headline([*left, *checks])) == left


def test_each_of_several_curves_is_shown_at_its_first_points() -> None:
    shown = headline(attacked([f"{name}_{at}" for name in "ab" for at in (0, 0.12, 0.1)], "l2"))
    points = [f"{name}_{at}_top1" for at in (0, 0.1, 0.12) for name in "ab"]
    assert shown == ["clean_top1", *points]


def test_a_few_points_of_a_curve_stand_beside_the_whole() -> None:
    radii = [f"{i / 4:g}_certified_accuracy" for i in range(17)]
    shown = headline(sorted([*radii, "abstained", "mean_radius"]))
    assert shown == ["abstained", "mean_radius", *(f"{r}_certified_accuracy" for r in range(5))]
    short = [f"{i}_certified_accuracy" for i in (0, 0.5, 1, 10, 2)]
    in_order = [short[i] for i in (0, 1, 2, 4, 3)]
    assert headline([*short, "mean_radius"]) == ["mean_radius", *in_order]


def test_perplexities_of_both_texts_stand_for_all_that_were_tried() -> None:
    texts = [f"{text}_{key}" for text in ("test", "valid") for key in ("nll", "perplexity")]
    assert sorted(headline(texts)) == texts
    rates, decays = (3e-5, 4e-5, 5e-5, 6e-5, 7e-5, 1e-4), (0.001, 0.002, 0.003, 0.005)
    tried = [f"perplexity_lr{lr:g}_decay{decay:g}" for lr in rates for decay in decays]
    shown = headline(sorted([*texts, "lr", "decay", *tried]))
    assert shown == [*texts, "decay", "lr"]


def test_evaluations_of_one_name_and_report_are_told_apart_by_their_settings() -> None:
    last, best = entry({"mce": 1.0}), entry({"mce": 2.0}, report="best_test")
    alone = dict(named({"evaluations": last | best}))
    assert {name: each["metrics"]["mce"] for name, each in alone.items()} == {
        "cifar10_c/last": 1.0,
        "cifar10_c/best_test": 2.0,
    }
    other = entry({"mce": 3.0}, sets="generated")
    for order in itertools.permutations([last, best, other]):
        found = dict(named({"evaluations": {k: v for each in order for k, v in each.items()}}))
        assert {name: each["metrics"]["mce"] for name, each in found.items()} == {
            "cifar10_c-aaaaaaaaaaaa/last": 1.0,
            "cifar10_c/best_test": 2.0,
            "cifar10_c-bbbbbbbbbbbb/last": 3.0,
        }
