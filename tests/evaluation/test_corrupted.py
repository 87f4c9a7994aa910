"""Corrupted's summaries equal their definitions, and its constants the numbers printed for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from evaluation_samples import data, network
from oracles import corruption_errors as oracle
from wording import says

from vicinal.data.split import Part, Split
from vicinal.draws import Rng
from vicinal.evaluation.clean import Clean
from vicinal.evaluation.corrupted import ERRORS, Baseline, Corrupted
from vicinal.evaluation.evaluation import Numbers
from vicinal.images.corruptions.corrupt import COMMON as CORRUPTIONS
from vicinal.images.corruptions.corrupt import EXTRA

NOISES = ("gaussian_noise", "shot_noise", "impulse_noise")
COLUMN: dict[Baseline, int] = {"alexnet": 0, "tiny_resnet18": 1}


@dataclass(frozen=True)
class Sets:
    """Sets of these corruptions, of which only the names are needed unless they are measured."""

    kinds: Sequence[str] = (*CORRUPTIONS, *EXTRA)
    severities: Sequence[int] = (1, 2, 3, 4, 5)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{kind}_{severity}" for kind in self.kinds for severity in self.severities)

    def load(self, name: str, test: Part, rng: Rng) -> Split:
        assert isinstance(test, Split)
        severity = int(name[-1])
        shift = torch.randint(256, test.x.shape, generator=rng.cpu, dtype=torch.uint8)
        return Split(test.x + shift // (6 - severity), test.y)


Errors = dict[str, list[float]]


def errors(kinds: Sequence[str]) -> Errors:
    table = torch.rand(len(kinds), 5, generator=torch.Generator().manual_seed(0)).double()
    return dict(zip(kinds, table.tolist(), strict=True))


def summary(of: Errors, baseline: Baseline | None = None) -> Numbers:
    """What is reported where the sets have these errors."""

    def parts(names: Sequence[str], measure: Callable[[str], Numbers]) -> dict[str, Numbers]:
        error = {name: of[name[:-2]][int(name[-1]) - 1] for name in names}
        return {name: {"top1": 100 * (1 - error[name])} for name in names}

    return Corrupted(Sets(tuple(of)), baseline)(network(), data(4), Rng.seeded(0), parts)


@pytest.mark.parametrize("baseline", ["alexnet", "tiny_resnet18"])
def test_summaries_equal_their_definitions(baseline: Baseline) -> None:
    of = errors((*CORRUPTIONS, *EXTRA))
    found = summary(of, baseline)
    fifteen = {kind: of[kind] for kind in CORRUPTIONS}
    twelve = {kind: of[kind] for kind in CORRUPTIONS if kind not in NOISES}
    constants = {kind: ERRORS[kind][COLUMN[baseline]] for kind in CORRUPTIONS}
    for end, kinds in {"": fifteen, "_without_noise": twelve}.items():
        ce = oracle.corruption_errors(kinds, constants)
        assert found[f"mce{end}"] == pytest.approx(100 * sum(ce.values()) / len(ce))
        robust = oracle.robust_accuracy(kinds)
        assert found[f"robust_accuracy{end}"] == pytest.approx(100 * robust)
    for kind, value in oracle.corruption_errors(fifteen, constants).items():
        assert found[f"{kind}_ce"] == pytest.approx(100 * value)
    for kind, of_severity in of.items():
        robust = oracle.robust_accuracy({kind: of_severity})
        assert found[f"{kind}_top1"] == pytest.approx(100 * robust)
        assert found[f"{kind}_error_sum"] == pytest.approx(100 * sum(of_severity))
    extras = {kind: of[kind] for kind in EXTRA}
    assert found["extra_accuracy"] == pytest.approx(100 * oracle.robust_accuracy(extras))
    assert not any(f"{kind}_ce" in found for kind in EXTRA)


def test_the_baselines_of_tiny_imagenet_are_the_row_that_augmax_prints() -> None:
    """Tables 5 and 6, "Normal": 23.91 and 24.38 %, mCE 100 in both."""
    found = summary({kind: [ERRORS[kind][1]] * 5 for kind in CORRUPTIONS}, "tiny_resnet18")
    assert found["robust_accuracy"] == pytest.approx(23.91, abs=0.0051)
    assert found["robust_accuracy_without_noise"] == pytest.approx(24.38, abs=0.0051)
    assert found["mce"] == pytest.approx(100)
    assert found["mce_without_noise"] == pytest.approx(100)


def test_alexnet_has_its_own_errors() -> None:
    found = summary({kind: [ERRORS[kind][0]] * 5 for kind in CORRUPTIONS}, "alexnet")
    assert found["mce"] == pytest.approx(100)
    assert found["gaussian_noise_top1"] == pytest.approx(100 - 88.6428)
    assert found["jpeg_compression_top1"] == pytest.approx(100 - 60.65)


def test_a_mean_needs_all_of_its_sets() -> None:
    everything = {"robust_accuracy", "robust_accuracy_without_noise", "extra_accuracy"}
    without_noise = summary(errors([kind for kind in CORRUPTIONS if kind not in NOISES]))
    assert everything & set(without_noise) == {"robust_accuracy_without_noise"}
    assert everything & set(summary(errors(CORRUPTIONS[:-1]))) == set()
    assert everything & set(summary(errors(EXTRA))) == {"extra_accuracy"}
    fewer = Corrupted(Sets(("fog",), (1, 2, 3)))(network(), data(8), Rng.seeded(0))
    assert {"fog_1_top1", "fog_3_top1"} < set(fewer)
    assert "fog_top1" not in fewer
    assert "mce" not in summary(errors(CORRUPTIONS))


def test_each_set_has_cleans_numbers() -> None:
    model, samples, sets = network(), data(), Sets(("fog", "snow"), (1, 5))
    found = Corrupted(sets, batch_size=50)(model, samples, Rng.seeded(3))
    for name in sets.names:
        part = sets.load(name, samples.test, Rng.seeded(3).fork(name))
        for key, value in Clean(50)(model, part).items():
            assert found.pop(f"{name}_{key}") == value
    assert not found


@pytest.mark.parametrize("name", ["mist_1", "fog_0", "fog_6", "fog"])
def test_sets_of_other_names_are_refused(name: str) -> None:
    class Named(Sets):
        names = (name,)  # pyright: ignore[reportAssignmentType]

    with pytest.raises(ValueError, match=says(f"^sets ... {name} ... fog ... 1 to 5")):
        Corrupted(Named())
