"""What evaluations of corrupted sets leave in a record, for tests of what is shown of them."""

from collections.abc import Mapping
from typing import Any

KINDS = (  # in the order of ImageNet-C's paper
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur"),
    *("motion_blur", "zoom_blur", "snow", "frost", "fog", "brightness", "contrast"),
    *("elastic_transform", "pixelate", "jpeg_compression"),
)
DIGESTS = {"published": "aaaaaaaaaaaa", "generated": "bbbbbbbbbbbb"}


def corrupted(
    accuracy: float, baseline: bool = False, kinds: tuple[str, ...] = KINDS
) -> dict[str, float]:
    """Corruption i at severity s has `accuracy` - i - s percent; keys are sorted, as in records."""
    found: dict[str, float] = {}
    for i, kind in enumerate(kinds):
        for severity in range(1, 6):
            top1 = accuracy - i - severity
            found |= {f"{kind}_{severity}_top1": top1, f"{kind}_{severity}_nll": 2.0}
            found[f"{kind}_{severity}_ece"] = 10.0
        found |= {f"{kind}_top1": accuracy - i - 3, f"{kind}_error_sum": 500 - 5 * accuracy}
        if baseline:
            found[f"{kind}_ce"] = 2 * (100 - accuracy)
    if kinds == KINDS:
        found |= {"robust_accuracy": accuracy - 10, "robust_accuracy_without_noise": accuracy - 11}
        if baseline:
            found |= {"mce": 2 * (110 - accuracy), "mce_without_noise": 2 * (111 - accuracy)}
    return dict(sorted(found.items()))


def entry(
    metrics: Mapping[str, float],
    name: str = "cifar10_c",
    sets: str = "published",
    report: str = "last",
    **config: Any,
) -> dict[str, Any]:
    """One evaluation of corrupted sets by its key, as a record has it."""
    classes = {"published": "cifar_c.CifarC", "generated": "generated.Generated"}
    config = {
        "_target_": "vicinal.evaluation.corrupted.Corrupted",
        "sets": {"_target_": f"vicinal.data.shifted.{classes[sets]}"},
    } | config
    found = {"name": name, "config": config, "report": report, "epoch": 3, "metrics": metrics}
    return {f"{name}-{report}-{DIGESTS[sets]}": found}
