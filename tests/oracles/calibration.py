"""Expected calibration error, literally: Guo et al. 2017, Eq. 3 with the bins of their §2."""


def expected_calibration_error(confidences: list[float], hits: list[bool], bins: int) -> float:
    total = 0.0
    for m in range(1, bins + 1):
        bin_confidences, bin_hits = [], []
        for confidence, hit in zip(confidences, hits, strict=True):
            if (m - 1) / bins < confidence <= m / bins:
                bin_confidences.append(confidence)
                bin_hits.append(1.0 if hit else 0.0)
        if bin_hits:
            accuracy = sum(bin_hits) / len(bin_hits)
            average_confidence = sum(bin_confidences) / len(bin_confidences)
            total += len(bin_hits) / len(confidences) * abs(accuracy - average_confidence)
    return total
