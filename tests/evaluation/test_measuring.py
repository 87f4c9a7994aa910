"""What is printed of an evaluation."""

from measured_samples import corrupted, entry

from vicinal.evaluation.measuring import described


def test_a_line_has_what_stands_for_the_whole_and_counts_the_rest() -> None:
    (found,) = entry(corrupted(70.0), report="best_test").values()
    assert described(found) == (
        "cifar10_c, best_test: robust_accuracy 60, robust_accuracy_without_noise 59, and 255 more"
    )
    (few,) = entry({"top1": 1 / 3}, "spatial").values()
    assert described(few) == "spatial, last: top1 0.3333"


def test_what_says_against_an_attack_is_printed_below_its_numbers() -> None:
    (found,) = entry({"pgd_top1": 40.0, "zero_gradients": 37.0}, "attacked").values()
    first, warning = described(found).splitlines()
    assert first == "attacked, last: pgd_top1 40, and 1 more"
    assert "37 % of gradients vanish" in warning
