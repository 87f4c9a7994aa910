"""Searches for a hard image: the worst levels, the flow, and what all of them leave alone."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from augmax_samples import batch, network
from oracles import chains as chains_oracle
from oracles import vicinities as vicinities_oracle
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.attacks.affine import WorstAffine
from vicinal.attacks.flow import Flow
from vicinal.attacks.levels import WorstLevels
from vicinal.attacks.mixture import MixtureAscent
from vicinal.draws import Rng, beta, dirichlet
from vicinal.images.chains import Plan, rendered
from vicinal.surgery.dubin import DuBN, routed, with_norm


def smooth_on(x: Tensor, y: Tensor) -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), y.shape[1])).double().eval()


@pytest.mark.parametrize("seed", range(3))
def test_advmix_keeps_each_samples_worst_of_k_draws(seed: int) -> None:
    x, y = batch()
    model, rng = smooth_on(x, y), Rng.seeded(seed)
    plan = Plan.drawn(8, 3, None, 3.0, rng)
    m, w = beta(1.0, 8, rng), dirichlet(8, 3, rng)
    state = rng.state()
    ours = WorstLevels(4)(model, x, y, rng, plan=plan, m=m, w=w)
    rng.restore(state)
    plans = [plan, *(plan.redrawn(rng) for _ in range(3))]
    for i in range(8):
        losses, candidates = [], []
        for each in plans:
            chains = [
                chains_oracle.chain(
                    (x[i] * 255).round().to(torch.uint8),
                    plan.operators[i, j].tolist(),
                    each.levels[i, j].tolist(),
                    int(plan.lengths[i, j]),
                )
                for j in range(3)
            ]
            image = chains_oracle.mixture(x[i], chains, m[i].item(), w[i].tolist())
            logits = model(image[None])[0].tolist()
            losses.append(vicinities_oracle.cross_entropy(logits, y[i].tolist()))
            candidates.append(torch.stack(chains))
        assert torch.equal(ours[i], candidates[losses.index(max(losses))])


def test_the_flow_stays_within_its_bound_and_raises_the_loss() -> None:
    x, y = batch()
    model = smooth_on(x, y)
    still = Flow(0.0, 0.5, 2)(model, x, y, Rng.seeded(0))
    torch.testing.assert_close(still, x)
    moved = Flow(1.0, 0.5, 5)(model, x, y, Rng.seeded(0))
    padded = F.pad(x, (1,) * 4, mode="replicate")
    assert (moved <= F.max_pool2d(padded, 3, 1) + 1e-9).all()
    assert (moved >= -F.max_pool2d(-padded, 3, 1) - 1e-9).all()
    before, after = (F.cross_entropy(model(z), y, reduction="none") for z in (x, moved))
    assert (after > before).all()


def searches() -> dict[str, Callable[[nn.Module, Tensor, Tensor], object]]:
    def plan() -> Plan:
        return Plan.drawn(8, 3, None, 3.0, Rng.seeded(0))

    def levels(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        m, w = torch.full((8,), 0.5).double(), torch.full((8, 3), 1 / 3).double()
        return WorstLevels(3)(model, x, y, Rng.seeded(0), plan=plan(), m=m, w=w)

    def mixtures(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return MixtureAscent(3, 0.1)(model, x, y, Rng.seeded(0), chains=rendered(x, plan()))

    def flows(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return Flow(1.0, 0.5, 3)(model, x, y, Rng.seeded(0))

    def affines(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return WorstAffine(3)(model, x, y, Rng.seeded(0))

    return {"levels": levels, "mixtures": mixtures, "flows": flows, "affines": affines}


@pytest.mark.parametrize("name", ["levels", "mixtures", "flows", "affines"])
@pytest.mark.parametrize("within", [torch.no_grad, torch.enable_grad])
def test_searches_leave_the_network_as_it_was(name: str, within: Callable[[], Any]) -> None:
    x, y = batch()
    model = with_norm(network(), "dubin")
    model.get_submodule("body.stage2").eval()  # a mode of its own must survive
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    with within(), routed(model, "A"):
        found = searches()[name](model, x, y)
        assert {m.route for m in model.modules() if isinstance(m, DuBN)} == {"A"}
    assert isinstance(found, Tensor)
    assert not found.requires_grad
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", ["levels", "mixtures", "flows", "affines"])
def test_a_search_that_fails_restores_modes(name: str) -> None:
    x, y = batch()
    model = network().train()
    model.get_submodule("body").register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        searches()[name](model, x, y)
    assert all(module.training for module in model.modules())
