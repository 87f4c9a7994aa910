"""Accuracy under attack, counted image by image, on the network itself or on another's examples."""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Any

import pytest
import torch
from evaluation_samples import data, network, resumed, same_on_ranks, unchanged
from every_attack import small
from torch import nn
from torch.nn import functional as F
from wording import says

from vicinal.attacks.pgd import Pgd
from vicinal.attacks.threat import Threat
from vicinal.contracts import Images, Targets
from vicinal.data.split import Split
from vicinal.draws import Draws, Rng
from vicinal.errors import RunError
from vicinal.evaluation.attacked import Attacked
from vicinal.evaluation.checks import CHECKS

FGSM = Pgd(Threat(0.02), 1.0, 1, random_start=False)
PGD = Pgd(Threat(0.03), 0.5, 3)


def trained(count: int = 60, model: nn.Module | None = None) -> tuple[nn.Module, Any]:
    """A network in eval mode, and images of which it is right about four in five."""
    model, samples = model or small(), data(count)
    assert isinstance(samples.test, Split)
    y = model(samples.test.x.float() / 255).argmax(1)
    y[::5] = (y[::5] + 1) % 4
    test = Split(samples.test.x, y)
    return model, replace(samples, test=test)


class Flat(nn.Module):
    """Linear, so that a stronger attack never does less."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(192, 4).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


def literal(
    model: nn.Module, samples: Any, attack: Pgd, *, every: bool, source: nn.Module | None = None
) -> dict[str, float]:
    """One image at a time, with draws of its own row."""
    hits, l2, linf = [], [], []
    for row in range(len(samples.test)):
        x = samples.test.x[[row]].float() / 255
        label = int(samples.test.y[row])
        right = int(model(x).argmax()) == label
        moved = x
        if right or every:
            draws = Rng.seeded(5).fork("attack").of_rows([row])
            y = F.one_hot(samples.test.y[[row]], 4).float()
            moved = attack(source or model, x, y, draws)
        hit = int(model(moved).argmax()) == label
        hits.append(hit)
        if right and not hit:
            l2.append((moved - x).square().sum().sqrt().item())
            linf.append((moved - x).abs().max().item())
    return {
        "top1": 100 * sum(hits) / len(hits),
        "l2": median_low(l2),
        "linf": median_low(linf),
    }


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_an_image_counts_if_its_adversarial_example_is_right(attack: Pgd, every: bool) -> None:
    model, samples = trained()
    evaluation = Attacked({"mine": attack}, attack_missed=every, batch_size=7)
    found = evaluation(model, samples, Rng.seeded(5))
    expected = literal(model, samples, attack, every=every)
    assert 0 < expected["top1"] < 80
    sound = dict.fromkeys(CHECKS, 0.0)
    assert found == pytest.approx(
        sound | {"clean_top1": 80.0} | {f"mine_{key}": value for key, value in expected.items()},
        rel=1e-5,
    )


def test_missed_images_are_not_attacked_unless_they_are_asked_for() -> None:
    """An attack that makes every image right: those missed before stay missed, or are right."""
    model, samples = trained()
    assert isinstance(samples.test, Split)
    honest = Helpful(samples.test, Threat(None))
    found = Attacked({"helpful": honest})(model, samples, Rng.seeded(0))
    assert found["helpful_top1"] == 80.0
    assert "helpful_l2" not in found  # nobody was fooled
    found = Attacked({"helpful": honest}, attack_missed=True)(model, samples, Rng.seeded(0))
    assert found["helpful_top1"] > 80.0


@dataclass(frozen=True)
class Helpful:
    """Returns images that this network takes for what the targets say, where it finds one."""

    split: Split
    threat: Threat

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
        images = self.split.x.float() / 255
        classes = model(images).argmax(1)
        return torch.stack(
            [images[(classes == label).nonzero()[0, 0]] for label in y.argmax(1).tolist()]
        )


def test_top5_is_that_of_the_adversarial_examples_of_all_images() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 7)).eval()
    samples = replace(data(40), num_classes=7)
    assert isinstance(samples.test, Split)
    found = Attacked({"fgsm": FGSM}, attack_missed=True)(model, samples, Rng.seeded(0))
    x, y = samples.test.x.float() / 255, samples.test.y
    moved = FGSM(model, x, F.one_hot(y, 7).float(), Rng.seeded(0))
    five = model(moved).topk(5).indices
    assert found["fgsm_top5"] == pytest.approx(100 * (five == y[:, None]).any(1).double().mean())
    assert 0 < found["fgsm_top5"] < 100
    assert "fgsm_top5" not in Attacked({"fgsm": FGSM})(model, samples, Rng.seeded(0))


def test_a_curve_is_the_attack_at_each_epsilon_and_starts_at_clean_accuracy() -> None:
    model, samples = trained(model=Flat())
    curve = Attacked({"pgd": PGD, "fgsm": FGSM}, epsilons=[0, 0.01, 0.05, 0.2])
    found = curve(model, samples, Rng.seeded(1))
    for name, attack in (("pgd", PGD), ("fgsm", FGSM)):
        along = [found[f"{name}_{epsilon}_top1"] for epsilon in ("0", "0.01", "0.05", "0.2")]
        assert along[0] == found["clean_top1"]
        assert along == sorted(along, reverse=True)
        assert along[0] > along[-1]
        alone = replace(attack, threat=Threat(0.05))
        same = Attacked({"one": alone})(model, samples, Rng.seeded(1))
        assert same["one_top1"] == found[f"{name}_0.05_top1"]


def test_examples_of_another_network_are_made_there_and_judged_here() -> None:
    model, samples = trained()
    torch.manual_seed(9)
    source = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval()
    evaluation = Attacked({"mine": PGD}, source="elsewhere")
    found = evaluation.transferred(source)(model, samples, Rng.seeded(5))
    expected = literal(model, samples, PGD, every=False, source=source)
    assert found["mine_top1"] == pytest.approx(expected["top1"])
    assert found["mine_top1"] != Attacked({"mine": PGD})(model, samples, Rng.seeded(5))["mine_top1"]
    with pytest.raises(RunError, match=says("^source ... finished run")):
        evaluation(model, samples, Rng.seeded(5))


def test_the_draws_of_an_image_depend_neither_on_the_batch_nor_on_who_else_stands() -> None:
    model, samples = trained()
    found = Attacked({"pgd": PGD}, batch_size=60)(model, samples, Rng.seeded(2))
    again = Attacked({"pgd": PGD}, batch_size=11)(model, samples, Rng.seeded(2))
    assert again == pytest.approx(found, rel=1e-5)
    noisy = replace(samples, test=samples.test[torch.arange(30)])
    first = Attacked({"pgd": Pgd(Threat(0.5), 0, 1)}, attack_missed=True, batch_size=13)
    both = first(model, samples, Rng.seeded(2)), first(model, noisy, Rng.seeded(2))
    assert both[0] != both[1]


def test_numbers_tell_whether_the_network_that_is_attacked_hides_its_gradients() -> None:
    model, samples = trained()
    flat = nn.Sequential(Quantised(), model)
    honest = Attacked({"fgsm": FGSM})(model, samples, Rng.seeded(0))
    hidden = Attacked({"fgsm": FGSM})(flat, samples, Rng.seeded(0))
    assert (honest["zero_gradients"], hidden["zero_gradients"]) == (0.0, 100.0)
    transferred = Attacked({"fgsm": FGSM}, source="it").transferred(flat)
    assert transferred(model, samples, Rng.seeded(0))["zero_gradients"] == 100.0


class Quantised(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 8).round() / 8


def test_a_network_that_is_always_wrong_has_nothing_to_attack() -> None:
    model, samples = trained()
    assert isinstance(samples.test, Split)
    wrong = Split(samples.test.x, (model(samples.test.x.float() / 255).argmax(1) + 1) % 4)
    found = Attacked({"pgd": PGD})(model, replace(samples, test=wrong), Rng.seeded(0))
    assert found == dict.fromkeys(CHECKS, 0.0) | {"clean_top1": 0.0, "pgd_top1": 0.0}


def test_attacks_run_in_full_precision() -> None:
    seen = []

    @dataclass(frozen=True)
    class Spy:
        threat: Threat

        def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
            seen.append(torch.is_autocast_enabled("cpu"))
            return x

    with torch.autocast("cpu", torch.bfloat16):
        Attacked({"spy": Spy(Threat(0.1))})(*trained(), Rng.seeded(0))
    assert seen == [False]


def test_ranks_share_the_images(tmp_path: Path) -> None:
    model, samples = trained(23)
    evaluation = Attacked({"pgd": PGD}, batch_size=4)
    same_on_ranks(lambda: evaluation(model, samples, Rng.seeded(0)), tmp_path)


def test_it_goes_on_where_it_stopped() -> None:
    model, samples = trained(20)
    evaluation = Attacked({"pgd": PGD, "fgsm": FGSM}, epsilons=[0.01, 0.02])
    measured: list[str] = []
    parts = resumed(["clean", "pgd_0.02"], measured)
    found = evaluation(model, samples, Rng.seeded(0), parts)
    assert found == evaluation(model, samples, Rng.seeded(0))
    assert measured == ["checks", "pgd_0.01", "fgsm_0.01", "fgsm_0.02"]


def test_it_leaves_the_network_as_it_was() -> None:
    model = network()
    with unchanged(model):
        Attacked({"pgd": PGD})(model, data(9), Rng.seeded(0))


def test_vectors_are_refused() -> None:
    vectors = Split(torch.zeros(3, 5), torch.zeros(3).long())
    with pytest.raises(RunError, match=says("^dataset ... images ... (5,)")):
        Attacked({"pgd": PGD})(network(), replace(data(8), test=vectors), Rng.seeded(0))


HUNDREDS = Pgd(Threat(0.1, clip="batches_of_100"), 1.0, 1)


@pytest.mark.parametrize(
    ("attacks", "settings", "message"),
    [
        ({}, {}, "^attacks ... none"),
        ({"clean": PGD}, {}, "^attacks ... clean"),
        ({"pgd": PGD}, {"batch_size": 0}, "^batch_size ... 1 ... 0"),
        ({"pgd": PGD}, {"epsilons": [0.1, -1.0]}, "^epsilon ... 0 ... -1.0"),
        ({"a": HUNDREDS}, {"batch_size": 250}, "^batch_size ... 100 ... 250 ... attack_missed"),
        ({"a": HUNDREDS}, {"batch_size": 200}, "^batch_size ... 100 ... attack_missed ... False"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    attacks: dict[str, Pgd], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=says(message)):
        Attacked(attacks, **settings)
