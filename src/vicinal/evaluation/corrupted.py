"""Accuracy on corrupted test sets, by corruption and severity, and the papers' means over them.

Paper:    Hendrycks, Dietterich, ICLR 2019, arXiv 1903.12261, §4.1-4.2 (CE, mCE);
          Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771, §4.1-4.2 (robust accuracy, and
          both without noise); Faramarzi et al., PatchUp, AAAI 2022, arXiv 2006.07794, Fig. 4 (sums)
Code:     VITA-Group/AugMax (commit 176acdb) test.py has the errors of both baselines
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import Literal, get_args

from torch import nn

from vicinal.data.dataset import Data
from vicinal.data.shifted.sets import ShiftedSets
from vicinal.draws import Rng
from vicinal.evaluation.clean import Clean
from vicinal.evaluation.evaluation import Numbers, Parts, each, flat
from vicinal.images.corruptions.corrupt import COMMON, EXTRA, SEVERITIES

Baseline = Literal["alexnet", "tiny_resnet18"]

# Errors of AlexNet on ImageNet-C, and of AugMax's ResNet-18 on Tiny-ImageNet-C.
ERRORS = MappingProxyType(
    {
        "gaussian_noise": (0.886428, 0.8037),
        "shot_noise": (0.894468, 0.7597),
        "impulse_noise": (0.922640, 0.7758),
        "defocus_blur": (0.819880, 0.8426),
        "glass_blur": (0.826268, 0.8274),
        "motion_blur": (0.785948, 0.7907),
        "zoom_blur": (0.798360, 0.8212),
        "snow": (0.866816, 0.7497),
        "frost": (0.826572, 0.7381),
        "fog": (0.819324, 0.7433),
        "brightness": (0.564592, 0.6800),
        "contrast": (0.853204, 0.8939),
        "elastic_transform": (0.646056, 0.7308),
        "pixelate": (0.717840, 0.6121),
        "jpeg_compression": (0.606500, 0.6452),
    }
)
WITHOUT_NOISE = tuple(name for name in COMMON if not name.endswith("_noise"))


@dataclass(frozen=True)
class Corrupted:
    """What Clean measures, for each set CORRUPTION_SEVERITY, and means over severities and types.

    A corruption's numbers need its five severities: `top1` is their mean, `error_sum` the sum of
    their errors in percent, `ce` their mean error in percent of the baseline's. Means over types
    need every type: all 15 for `robust_accuracy` and `mce`, 12 without noise, 4 for the extras.
    """

    sets: ShiftedSets
    baseline: Baseline | None = None
    batch_size: int = 1000

    def __post_init__(self) -> None:
        _ = self.clean  # checks the batch size
        if self.baseline is not None and self.baseline not in get_args(Baseline):
            known = ", ".join(get_args(Baseline))
            raise ValueError(f"baseline must be null or one of {known}, got {self.baseline}")
        sets = {f"{kind}_{level}" for kind in (*COMMON, *EXTRA) for level in SEVERITIES}
        for name in self.sets.names:
            if name not in sets:
                raise ValueError(
                    f"sets must be named CORRUPTION_SEVERITY, got {name} (corruptions: "
                    f"{', '.join((*COMMON, *EXTRA))}; severities: 1 to 5)"
                )

    @property
    def clean(self) -> Clean:
        """What is measured of each set."""
        return Clean(self.batch_size)

    def passes(self, images: int) -> int | None:
        """Of each set, which is taken to be as large as the test set."""
        return images * len(self.sets.names)

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        def measure(name: str) -> Numbers:
            return self.clean(model, self.sets.load(name, data.test, rng.fork(name)))

        found = parts(self.sets.names, measure)
        kinds = {
            kind: self._of_kind(kind, [found[f"{kind}_{level}"]["top1"] for level in SEVERITIES])
            for kind in (*COMMON, *EXTRA)
            if all(f"{kind}_{level}" in found for level in SEVERITIES)
        }
        return flat(found) | flat(kinds) | _over_kinds(kinds)

    def _of_kind(self, kind: str, accuracies: Sequence[float]) -> Numbers:
        errors = [100 - accuracy for accuracy in accuracies]
        numbers = {"top1": fmean(accuracies), "error_sum": sum(errors)}
        if self.baseline is None or kind not in ERRORS:
            return numbers
        of_baseline = ERRORS[kind][get_args(Baseline).index(self.baseline)]
        return numbers | {"ce": fmean(errors) / of_baseline}


def _over_kinds(kinds: dict[str, Numbers]) -> Numbers:
    """The means over corruptions, where all of them were measured."""
    means = {
        "robust_accuracy": ("top1", COMMON),
        "robust_accuracy_without_noise": ("top1", WITHOUT_NOISE),
        "mce": ("ce", COMMON),
        "mce_without_noise": ("ce", WITHOUT_NOISE),
        "extra_accuracy": ("top1", EXTRA),
    }
    return {
        name: fmean(kinds[kind][key] for kind in among)
        for name, (key, among) in means.items()
        if all(key in kinds.get(kind, {}) for kind in among)
    }
