"""The adapter of the authors' package: what it asks of it, and what it makes of the answer."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from attack_samples import of_trained, trained
from composing import compose
from evaluation_samples import data, network, same_on_ranks, unchanged
from hydra.utils import instantiate
from torch import Tensor, nn
from wording import says

from vicinal.attacks.apgd import Apgd
from vicinal.attacks.threat import Threat
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.autoattack import AutoAttack
from vicinal.evaluation.evaluation import Numbers
from vicinal.evaluation.yardstick import Yardstick

CALLS: list[dict[str, Any]] = []


class Fake:
    """Breaks images of even labels: inverts them, if this fools the network."""

    def __init__(self, model: nn.Module, **settings: Any) -> None:
        self.model = model
        self.apgd_targeted, self.fab = SimpleNamespace(), SimpleNamespace()
        CALLS.append(settings)

    def run_standard_evaluation(self, x: Tensor, y: Tensor, bs: int) -> Tensor:
        targets = self.apgd_targeted.n_target_classes, self.fab.n_target_classes
        CALLS[-1] |= {
            "targets": targets,
            "images": len(x),
            "batch": bs,
            "autocast": torch.is_autocast_enabled("cpu"),
            "training": any(module.training for module in self.model.modules()),
        }
        assert x.requires_grad is False
        torch.manual_seed(1)  # as the package does
        return torch.where((y % 2 == 0).view(-1, 1, 1, 1), 1 - x, x)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    module = ModuleType("autoattack")
    module.AutoAttack = Fake  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "autoattack", module)
    CALLS.clear()
    return CALLS


def test_an_image_is_robust_if_the_returned_one_is_right(fake: list[dict[str, Any]]) -> None:
    model, samples = of_trained()
    assert isinstance(samples.test, Split)
    x, label = samples.test.x, samples.test.y
    found = AutoAttack(images=30, batch_size=8)(model, samples, Rng.seeded(0))
    right = model(x).argmax(1) == label
    broken = (label % 2 == 0) & (model(1 - x).argmax(1) != label)
    expected = {"clean_top1": right, "robust_accuracy": right & ~broken}
    rows = [i * 48 // 30 for i in range(30)]
    assert 0 < (right & ~broken)[rows].sum() < right[rows].sum()
    for name, stands in expected.items():
        assert found[name] == pytest.approx(100 * stands[rows].double().mean().item())
    assert set(found) == set(expected)


def test_the_package_gets_images_that_are_right_and_the_settings(
    fake: list[dict[str, Any]],
) -> None:
    model, samples = of_trained()
    found = AutoAttack(0.5, "l2", None, 20)(model, samples, Rng.seeded(0))
    assert sum(call["images"] for call in fake) == round(0.48 * found["clean_top1"]) == 45
    for call in fake:
        assert (call["norm"], call["eps"]) == ("L2", 0.5)
        assert (call["seed"], call["version"], call["verbose"]) == (0, "standard", False)
        assert call["targets"] == (3, 3)  # there are no nine other classes
        assert call["batch"] == call["images"] <= 20


def test_it_runs_in_full_precision_and_eval_mode_and_leaves_all_as_it_was(
    fake: list[dict[str, Any]],
) -> None:
    model, state = network(), torch.get_rng_state()
    with unchanged(model), torch.autocast("cpu", dtype=torch.bfloat16):
        AutoAttack()(model, data(30), Rng.seeded(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert [(call["autocast"], call["training"]) for call in fake] == [(False, False)]


def test_ranks_find_what_one_process_does(fake: list[dict[str, Any]], tmp_path: Path) -> None:
    def measure() -> Numbers:
        return AutoAttack(batch_size=3)(network(), data(30), Rng.seeded(0))

    same_on_ranks(measure, tmp_path)


def test_it_breaks_at_least_what_apgd_does() -> None:
    pytest.importorskip("autoattack")
    model, x, y = trained()
    split = Split(x.float(), y.argmax(1))
    samples, single = replace(data(4), train=split, test=split), model.float()
    try:
        found = AutoAttack(0.03, images=12)(single, samples, Rng.seeded(0))
        ours = Yardstick({"apgd": Apgd(Threat(0.03))}, images=12)(single, samples, Rng.seeded(0))
        assert AutoAttack(0.5, images=12)(single, samples, Rng.seeded(0))["robust_accuracy"] == 0
    finally:
        model.double()
    assert found["clean_top1"] == ours["clean_top1"]
    assert 0 < found["robust_accuracy"] <= ours["robust_accuracy"] < ours["clean_top1"]


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "autoattack", None)
    command = "pip install git+https://github.com/fra31/auto-attack"
    with pytest.raises(ValueError, match=says(f"^autoattack ... {command}")) as caught:
        AutoAttack()
    assert "\n" not in str(caught.value)


def test_fewer_than_four_classes_are_refused(fake: list[dict[str, Any]]) -> None:
    with pytest.raises(RunError, match=says("^dataset ... 4 classes ... 3")):
        AutoAttack()(network(), replace(data(8), num_classes=3), Rng.seeded(0))


def test_vectors_are_refused(fake: list[dict[str, Any]]) -> None:
    vectors = Split(torch.zeros(3, 5), torch.zeros(3).long())
    with pytest.raises(RunError, match=says("^dataset ... images ... (5,)")):
        AutoAttack()(network(), replace(data(8), test=vectors), Rng.seeded(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, "^epsilon ... above 0 ... 0.0"),
        ({"norm": "l1"}, "^norm ... linf ... l2 ... l1"),
        ({"images": 0}, "^images ... 1 ... 0"),
        ({"batch_size": 0}, "^batch_size ... 1 ... 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    fake: list[dict[str, Any]], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=says(message)):
        AutoAttack(**settings)


def test_its_config_is_its_defaults(fake: list[dict[str, Any]]) -> None:
    config = compose("evaluation=autoattack").evaluation.autoattack
    assert instantiate(config, _convert_="all") == AutoAttack()
