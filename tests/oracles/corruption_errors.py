"""Summaries over corruptions, literally, from the errors e[corruption][severity] of a network.

Hendrycks and Dietterich 2019, §4.1: CE_c = (Σ_s E_s,c) / (Σ_s E^AlexNet_s,c); mCE is their mean.
"""


def corruption_errors(
    errors: dict[str, list[float]], baseline: dict[str, float]
) -> dict[str, float]:
    """CE_c, of a baseline whose mean error over severities is given."""
    found = {}
    for corruption, of_severity in errors.items():
        total, of_baseline = 0.0, 0.0
        for error in of_severity:
            total += error
            of_baseline += baseline[corruption]
        found[corruption] = total / of_baseline
    return found


def robust_accuracy(errors: dict[str, list[float]]) -> float:
    """The mean over corruptions of the mean accuracy over severities."""
    of_corruption = []
    for of_severity in errors.values():
        accuracies = [1 - error for error in of_severity]
        of_corruption.append(sum(accuracies) / len(accuracies))
    return sum(of_corruption) / len(of_corruption)
