"""What attacks for the smallest perturbation promise, whichever they are."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from smallest_samples import batch, frozen, network, norms
from torch import Tensor, nn
from wording import says

from vicinal.attacks.attack import Attack
from vicinal.attacks.carlini_wagner import CarliniWagner
from vicinal.attacks.ddn import Ddn
from vicinal.attacks.deepfool import DeepFool
from vicinal.attacks.smallest import Smallest
from vicinal.attacks.threat import Threat
from vicinal.cli.configs import CONFIGS, build
from vicinal.draws import Rng
from vicinal.models.normalized import Normalize

FAR = Threat(None, "l2")
ATTACKS: dict[str, Any] = {
    "deepfool": DeepFool(FAR, 10),
    "deepfool_linf": DeepFool(Threat(None, "linf"), 10),
    "ddn": Ddn(FAR, 20),
    "carlini_wagner": CarliniWagner(FAR, 4, 20, 0.1, initial_const=0.3),
}
EACH = pytest.mark.parametrize("name", ATTACKS)


def found_by(attack: Attack, x: Tensor, y: Tensor, model: nn.Module | None = None) -> Tensor:
    return attack(model or network(), x, y, Rng.seeded(0))


def of(name: str, **threat: Any) -> Attack:
    """The attack under a threat that differs in this."""
    return replace(ATTACKS[name], threat=replace(ATTACKS[name].threat, **threat))


@EACH
def test_the_network_is_wrong_about_what_it_finds(name: str) -> None:
    x, y = batch(12)
    found = found_by(ATTACKS[name], x, y)
    with torch.no_grad():
        assert (frozen()(found).argmax(1) != y.argmax(1)).all()
    assert found.min() >= 0
    assert found.max() <= 1


@EACH
def test_a_misclassified_image_comes_back_as_it_is(name: str) -> None:
    x, y = batch(6)
    found = found_by(ATTACKS[name], x, y)
    assert torch.equal(found[-1], x[-1])
    assert (norms(found - x, "l2")[:-1] > 0.1).all()


@EACH
def test_what_is_too_far_is_projected_and_nothing_else_changes(name: str) -> None:
    x, y = batch(12)
    smallest, norm = found_by(ATTACKS[name], x, y), ATTACKS[name].threat.norm
    lengths = norms(smallest - x, norm)
    epsilon = lengths.median().item()
    found = found_by(of(name, epsilon=epsilon), x, y)
    far = lengths > epsilon
    assert 0 < far.sum() < 12
    assert torch.equal(found[~far], smallest[~far])
    torch.testing.assert_close(norms(found - x, norm)[far], torch.full_like(lengths[far], epsilon))
    shares = (epsilon / lengths.view(-1, 1, 1, 1)).clamp(max=1)
    nearest = shares * (smallest - x) if norm == "l2" else (smallest - x).clamp(-epsilon, epsilon)
    torch.testing.assert_close(found, x + nearest, rtol=0, atol=1e-12)


def test_an_image_that_is_near_enough_is_not_rounded() -> None:
    """It may be adversarial by its last digits alone; x + (x' - x) lacks those of a small x'."""
    x, moved = torch.full((1, 1, 1, 1), 0.7), torch.full((1, 1, 1, 1), 1e-6 / 3)
    region = Threat(1.0, "l2").around(nn.Identity(), x)
    assert not torch.equal(region.project(moved), moved)
    best = Smallest.none(x).or_nearer(region, moved, torch.tensor([True]))
    assert torch.equal(best.within(region), moved)


@EACH
def test_on_the_scale_of_the_first_layer_it_is_the_attack_behind_it(name: str) -> None:
    """x and (x - mean) / std are the same image to networks with and without that layer."""
    x, y = batch(6)
    mean, std = 0.375, 0.25  # which the layer holds exactly in float32
    behind = of(name, units="normalized", clip="batches_of_100")
    whole = nn.Sequential(Normalize([mean], [std]), frozen()).double()
    rest = nn.Sequential(Normalize([0.0], [1.0]), frozen()).double()
    found, expected = found_by(behind, x, y, whole), found_by(behind, (x - mean) / std, y, rest)
    torch.testing.assert_close((found - mean) / std, expected, rtol=0, atol=1e-9)
    assert not torch.allclose(found, found_by(of(name, clip="batches_of_100"), x, y, whole))


@EACH
def test_the_configs_are_the_attacks_with_foolboxs_defaults(name: str) -> None:
    config = OmegaConf.load(CONFIGS / "attack" / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    assert build(config) == type(ATTACKS[name])(ATTACKS[name].threat)


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        (DeepFool, {"steps": -1}, "^steps ... at least 0 ... -1"),
        (DeepFool, {"candidates": 1}, "^candidates ... at least 2 ... 1"),
        (DeepFool, {"overshoot": -0.1}, "^overshoot ... at least 0 ... -0.1"),
        (DeepFool, {"threat": Threat(1, clip="normalized")}, "^threat.clip ... got normalized"),
        (Ddn, {"steps": 0}, "^steps ... at least 1 ... 0"),
        (Ddn, {"gamma": 1.0}, "^gamma ... below 1 ... 1.0"),
        (Ddn, {"gamma": 0.0}, "^gamma ... above 0 ... 0.0"),
        (Ddn, {"init_epsilon": 0}, "^init_epsilon ... above 0 ... got 0"),
        (Ddn, {"threat": Threat(1)}, "^threat.norm ... l2 ... linf"),
        (Ddn, {"threat": Threat(1, "l2", clip="normalized")}, "^threat.clip ... got normalized"),
        (CarliniWagner, {"steps": 0}, "^steps ... at least 1 ... 0"),
        (CarliniWagner, {"binary_search_steps": 0}, "^binary_search_steps ... at least 1 ... 0"),
        (CarliniWagner, {"stepsize": 0}, "^stepsize ... above 0 ... got 0"),
        (CarliniWagner, {"initial_const": 0}, "^initial_const ... above 0 ... got 0"),
        (CarliniWagner, {"confidence": -1.0}, "^confidence ... at least 0 ... -1.0"),
        (CarliniWagner, {"threat": Threat(1)}, "^threat.norm ... l2 ... linf"),
        (CarliniWagner, {"threat": Threat(1, "l2", clip="none")}, "^threat.clip ... got none"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    attack: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=says(message)):
        attack(**{"threat": FAR} | settings)
