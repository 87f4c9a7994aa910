"""Every attack in configs/attack, and what it is tried on."""

from dataclasses import fields, replace
from typing import Any

import torch
from composing import compose
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.attacks.attack import Attack
from vicinal.cli.configs import CONFIGS, build
from vicinal.models.normalized import Normalize

ATTACKS = sorted(path.stem for path in (CONFIGS / "attack").glob("*.yaml"))
FEW = {"steps": 10, "queries": 20, "binary_search_steps": 2}  # instead of up to 90,000


def made(name: str, **threat: Any) -> Attack:
    """The attack of that config, with few steps, under a threat that differs in this."""
    chosen = f"attack@evaluation.attacked.attacks.pgd={name}"
    attack = build(compose("evaluation=attacked", chosen)).evaluation["attacked"].attacks["pgd"]
    assert isinstance(attack, Attack)
    few = {each.name: FEW[each.name] for each in fields(attack) if each.name in FEW}  # pyright: ignore
    return replace(attack, threat=replace(attack.threat, **threat), **few)  # pyright: ignore


def small() -> nn.Module:
    """Sensitive to each pixel, so that a few steps change what it sees."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(288, 4)]
    return nn.Sequential(Normalize((0.5,) * 3, (0.2,) * 3), *layers).eval()


def batch(model: nn.Module, count: int = 8) -> tuple[Tensor, Tensor]:
    """Images with the labels that the network gives them."""
    x = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    x[0], x[1] = 0, 1  # where the faces of the cube bind
    model.eval()
    return x, F.one_hot(model(x).argmax(1), 4).float()
