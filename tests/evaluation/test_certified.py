"""Randomised smoothing against CERTIFY one noisy copy at a time, and what certificates promise."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import torch
from composing import compose
from evaluation_samples import Linear, data, network, same_on_ranks, unchanged
from oracles import certify as oracle
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from whole_runs import KilledError, execute
from wording import says

from vicinal.cli.configs import build, check, resolved
from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.draws import Rng, derived_seed
from vicinal.evaluation.certified import ABSTAIN, Certified, lower_bound
from vicinal.evaluation.evaluation import Numbers, flat
from vicinal.storage.rows import Rows

SMALL = Certified(sigma=0.3, n0=30, n=250, every=1, batch_size=200)


class Constant(nn.Module):
    """Predicts class 2, or nothing."""

    def __init__(self, logit: float = 1.0) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.0, self.logit]).expand(len(x), 3)


class Plane(nn.Module):
    """Class 1 where w x > b."""

    def __init__(self, w: Sequence[float], b: float) -> None:
        super().__init__()
        self.w, self.b = torch.tensor(w, dtype=torch.float64), b

    def forward(self, x: Tensor) -> Tensor:
        side = x @ self.w - self.b
        return torch.stack([-side, side], dim=1)


def vectors(x: Tensor, y: Tensor, classes: int = 3) -> Data:
    return replace(data(2), test=Split(x, y), num_classes=classes)


def rows(
    evaluation: Certified, model: nn.Module, samples: Data, seed: int = 0
) -> dict[str, Numbers]:
    """What is measured of each image, without the time."""
    found = dict[str, Numbers]()

    def parts(names: Sequence[str], measure: Callable[[str], Numbers]) -> dict[str, Numbers]:
        found.update({name: measure(name) for name in names})
        return found

    evaluation(model, samples, Rng.seeded(seed), parts)
    timeless = ("label", "predict", "radius", "correct")
    return {name: {key: row[key] for key in timeless} for name, row in found.items()}


def noise(seed: int, row: int, shape: tuple[int, ...], blocks: range) -> list[Tensor]:
    """The draws of an image, in blocks of 100."""
    own, drawn = Rng.seeded(seed).fork(str(row)).shared.initial_seed(), []
    for block in blocks:
        generator = torch.Generator().manual_seed(derived_seed(own, "noise", block))
        drawn += torch.empty(100, *shape).normal_(generator=generator)
    return drawn


def test_certificates_equal_certify_with_one_copy_at_a_time() -> None:
    samples, model, classes = data(8), Linear(192, 4), 4
    assert isinstance(samples.test, Split)
    found = rows(SMALL, model, samples, seed=3)
    expected = []
    for row, image in enumerate(samples.test.x):
        draws = noise(3, row, (3, 8, 8), range(4))
        predict, radius = oracle.certify(
            lambda x: int(model(x[None]).argmax()),
            *(classes, image / 255, 0.3, draws[:30], draws[100:350], 0.001),
        )
        label = int(samples.test.y[row])
        expected.append((label, predict, radius))
        whole = {"label": label, "predict": predict, "correct": int(predict == label)}
        assert found[str(row)] == pytest.approx(whole | {"radius": radius}, rel=1e-9)
    assert {ABSTAIN} < {predict for _, predict, _ in expected}
    numbers = SMALL(model, samples, Rng.seeded(3))
    for radius in SMALL.radii:
        accuracy = oracle.certified_accuracy(expected, radius)
        assert numbers[f"{radius:g}_certified_accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize(("k", "n"), [(1, 10), (9, 10), (10, 10), (731, 1000), (99_000, 100_000)])
@pytest.mark.parametrize("alpha", [0.001, 0.3])
def test_the_bound_is_the_rate_at_which_so_many_hits_have_chance_alpha(
    k: int, n: int, alpha: float
) -> None:
    assert lower_bound(k, n, alpha) == pytest.approx(
        oracle.lower_confidence_bound(k, n, alpha), rel=1e-7
    )
    assert lower_bound(n, n, alpha) == pytest.approx(alpha ** (1 / n), rel=1e-12)
    assert lower_bound(0, n, alpha) == 0


def test_of_100_000_copies_50_490_must_agree() -> None:
    assert lower_bound(50_489, 100_000, 0.001) < 0.5 < lower_bound(50_490, 100_000, 0.001)


@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_a_constant_network_gets_the_largest_radius_that_there_is(sigma: float) -> None:
    """σ Φ⁻¹(α^(1/n)) = 3.8115 σ for the paper's n and α."""
    samples = vectors(torch.zeros(2, 2), torch.tensor([2, 1]))
    numbers = Certified(sigma, every=1)(Constant(), samples, Rng.seeded(0))
    largest = sigma * NormalDist().inv_cdf(0.001 ** (1 / 100_000))
    assert largest == pytest.approx(3.8115 * sigma, rel=1e-4)
    assert numbers["mean_radius"] == pytest.approx(largest / 2, rel=1e-9)
    assert numbers["abstained"] == 0
    for radius in Certified(sigma).radii:
        assert numbers[f"{radius:g}_certified_accuracy"] == (50 if radius < largest else 0)


def test_a_network_without_a_prediction_has_no_certificate() -> None:
    samples = vectors(torch.zeros(2, 2), torch.tensor([0, 2]))
    numbers = replace(SMALL, radii=(0.0,))(Constant(torch.nan), samples, Rng.seeded(0))
    assert numbers == {"0_certified_accuracy": 0, "abstained": 100, "mean_radius": 0}


def test_the_radius_of_a_linear_classifier_approaches_the_distance_to_its_border() -> None:
    """Cohen et al., Appendix B: it is the distance, but for the confidence that n copies allow."""
    w, b, sigma = (3.0, -4.0, 12.0), 6.5, 0.5
    distance = torch.tensor([-1.0, -0.7, -0.3, 0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    x = (b + 13 * distance)[:, None] * torch.tensor(w, dtype=torch.float64) / 169
    samples = vectors(x, (distance > 0).long(), 2)
    for n in (1000, 30_000):
        found = rows(Certified(sigma, n=n, every=1), Plane(w, b), samples)
        for true, row in zip(distance.tolist(), found.values(), strict=True):
            if true == 0:
                assert (row["predict"], row["radius"]) == (ABSTAIN, 0)
                continue
            z, p = abs(true) / sigma, NormalDist().cdf(abs(true) / sigma)
            slack = 3.09 * sqrt(p * (1 - p) / n) / NormalDist().pdf(z)
            assert row["predict"] == (true > 0)
            assert abs(true) - 2.5 * sigma * slack < row["radius"] < abs(true)


def test_a_share_alpha_of_certificates_at_most_is_wrong() -> None:
    """Of linear classifiers: a radius that is larger than the distance is wrong."""
    distance, alpha = 0.5, 0.2
    x = torch.tensor([[distance, 0.0]], dtype=torch.float64).expand(600, 2)
    evaluation = Certified(0.5, n0=1, n=1000, alpha=alpha, every=1)
    found = rows(evaluation, Plane((1.0, 0.0), 0.0), vectors(x, torch.ones(600).long(), 2))
    right_class = [row for row in found.values() if row["predict"] == 1]
    wrong = sum(row["radius"] > distance for row in right_class) / len(right_class)
    spread = sqrt(alpha * (1 - alpha) / len(right_class))
    assert alpha - 5 * spread < wrong < alpha + 3 * spread


def test_the_class_that_was_selected_is_bounded_even_if_another_has_more_copies() -> None:
    assert SMALL._certificate([2, 20, 8], [200, 30, 20]) == (ABSTAIN, 0)
    selected, radius = SMALL._certificate([8, 20, 2], [30, 200, 20])
    assert selected == 1
    assert radius == pytest.approx(0.3 * NormalDist().inv_cdf(lower_bound(200, 250, 0.001)))


class Watched(TorchDispatchMode):
    """Notes the operations of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device_until_the_copies_are_counted() -> None:
    with Watched() as watched:
        SMALL(network(), data(2), Rng.seeded(0))
    assert {"convolution", "normal_", "scatter_add_"} <= watched.seen
    waiting = {"_local_scalar_dense", "bincount", "nonzero", "equal", "masked_select", "index"}
    assert not watched.seen & waiting


def test_a_radius_that_an_image_just_reaches_counts() -> None:
    measured = {
        "0": {"label": 1.0, "predict": 1.0, "radius": 0.25, "correct": 1.0, "time": 1.0},
        "1": {"label": 1.0, "predict": 0.0, "radius": 0.75, "correct": 0.0, "time": 1.0},
        "2": {"label": 1.0, "predict": -1.0, "radius": 0.0, "correct": 0.0, "time": 1.0},
        "3": {"label": 0.0, "predict": 0.0, "radius": 0.0, "correct": 1.0, "time": 1.0},
    }
    evaluation = replace(SMALL, radii=(0, 0.25, 0.5))
    assert evaluation(Constant(), data(4), Rng.seeded(0), lambda *_: measured) == {
        "0_certified_accuracy": 50,
        "0.25_certified_accuracy": 25,
        "0.5_certified_accuracy": 0,
        "abstained": 25,
        "mean_radius": 0.25 / 4,
    }


def test_every_20th_image_is_certified() -> None:
    numbers = rows(
        replace(SMALL, every=20), Constant(), vectors(torch.zeros(50, 2), torch.zeros(50).long())
    )
    assert list(numbers) == ["0", "20", "40"]


def test_a_certificate_depends_neither_on_other_images_nor_on_batches() -> None:
    samples, model = data(6), Linear(192, 4)
    expected = rows(SMALL, model, samples)
    assert len({row["radius"] for row in expected.values()}) > 3
    for batch_size in (100, 300, 10_000):
        assert rows(replace(SMALL, batch_size=batch_size), model, samples) == expected
    few = rows(replace(SMALL, every=2), model, samples)
    assert few == {name: expected[name] for name in ("0", "2", "4")}
    assert rows(SMALL, model, samples, seed=1) != expected


def test_ranks_share_the_copies_of_each_image(tmp_path: Path) -> None:
    model, samples = network(), data(5)
    for batch_size in (100, 300):  # four batches, and two, of which a third rank gets none
        evaluation = replace(SMALL, batch_size=batch_size)
        same_on_ranks(lambda own=evaluation: flat(rows(own, model, samples)), tmp_path)


def test_forward_batches_are_equal_and_hardly_larger_than_needed() -> None:
    sizes, samples = list[int](), vectors(torch.zeros(1, 2), torch.zeros(1).long())
    model = Constant()
    model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    Certified(0.5, n=100_000, batch_size=10_000)(model, samples, Rng.seeded(0))
    assert sizes == [9100] * 11  # for 100,100 copies


def test_the_network_is_measured_in_eval_mode_and_left_as_it_was() -> None:
    model, samples = network(), data(3)
    modes = list[bool]()
    model.register_forward_hook(lambda of, *_: modes.append(of.training or torch.is_grad_enabled()))
    with unchanged(model):
        SMALL(model, samples, Rng.seeded(0))
    assert modes == [False] * len(modes)
    assert modes


RUN = (
    *("evaluation=certified", "method=gauss", "method.vicinity.sigma=0.2"),
    *("evaluation.certified.n0=20", "evaluation.certified.n=200"),
    *("evaluation.certified.every=60", "evaluation.certified.batch_size=100"),
)


def table(folder: Path) -> tuple[Path, list[dict[str, str]]]:
    """The table of a run, read as anyone would, without the times."""
    (path,) = folder.rglob("evaluations/certified-last-*.tsv")
    with path.open(newline="") as file:
        read = list(csv.DictReader(file, delimiter="\t"))
    assert all(tuple(row) == Certified.columns for row in read)
    return path, [{key: row[key] for key in row if key != "time"} for row in read]


def numbers_of(record: dict[str, Any]) -> Numbers:
    (entry,) = record["evaluations"].values()
    return entry["metrics"]


@pytest.mark.parametrize("cut", [0, 1, 12])
def test_a_run_that_was_killed_certifies_the_images_it_lacks(
    cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = execute(tmp_path / "one", *RUN)
    _, expected = table(tmp_path / "one")
    appended, original = list[str](), Rows.append

    def append(self: Rows, name: str, given: Numbers) -> None:
        original(self, name, given)
        appended.append(name)
        if len(appended) == 3:
            raise KilledError

    with monkeypatch.context() as killed:
        killed.setattr(Rows, "append", append)
        with pytest.raises(KilledError):
            execute(tmp_path / "two", *RUN)
    path, before = table(tmp_path / "two")
    assert before == expected[:3]
    assert len(expected) > 4
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) - cut])
    measured = list[str]()
    monkeypatch.setattr(Rows, "append", lambda *row: (measured.append(row[1]), original(*row)))
    assert numbers_of(execute(tmp_path / "two", *RUN)) == numbers_of(whole)
    assert table(tmp_path / "two")[1] == expected
    assert measured == [row["idx"] for row in expected[2 if cut else 3 :]]


def test_the_noise_of_training_certifies_unless_another_is_given() -> None:
    config = compose("evaluation=certified", "method=maxup_gauss", "method.vicinity.sigma=0.5")
    check(config)
    built = build(config.evaluation)["certified"]
    assert replace(built, radii=tuple(built.radii)) == Certified(0.5)  # the paper's settings
    with pytest.raises(
        ValueError,
        match=says("^evaluation.certified.sigma ... method.vicinity.sigma ... Identity ... method"),
    ):
        resolved(compose("evaluation=certified", "method=erm"))
    given = compose("evaluation=certified", "method=erm", "evaluation.certified.sigma=1")
    assert resolved(given)["evaluation"]["certified"]["sigma"] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": 0.0}, "^sigma ... positive ... 0.0"),
        ({"n0": 0}, "^n0 ... 1 ... 0"),
        ({"n": 9}, "^n ... 10 ... 9"),
        ({"alpha": 0.0}, "^alpha ... 0.0"),
        ({"alpha": 1.0}, "^alpha ... 1.0"),
        ({"every": 0}, "^every ... 1 ... 0"),
        ({"radii": (-1.0,)}, "^radii ... 0 ... (-1.0,)"),
        ({"radii": ()}, "^radii ... ()"),
        ({"batch_size": 250}, "^batch_size ... 100 ... 250"),
        ({"batch_size": 0}, "^batch_size ... 100 ... 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        Certified(**{"sigma": 0.5} | settings)
    assert Certified(0.5, n=10)
