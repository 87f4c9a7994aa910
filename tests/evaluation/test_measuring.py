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
