"""AugMax against Eq. 2-6 of its paper, and its relatives of Table 10."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from augmax_samples import batch, network
from composing import compose
from oracles import augmax as oracle
from oracles import vicinities as vicinities_oracle
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.attacks.flow import Flow
from vicinal.attacks.levels import WorstLevels
from vicinal.attacks.mixture import MixtureAscent
from vicinal.attacks.pgd import Pgd
from vicinal.cli.configs import build
from vicinal.contracts import Method
from vicinal.draws import Rng, beta, dirichlet
from vicinal.images.chains import mixture
from vicinal.losses import jensen_shannon
from vicinal.methods.advmax import AdvMax
from vicinal.methods.advmix import AdvMix
from vicinal.methods.augmax import AugMax
from vicinal.methods.augmix_pgdat import AugMixPgdat
from vicinal.surgery.dubin import DuBN, routed
from vicinal.vicinities.augmix import AugMix
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

ALL: list[Method] = [
    AugMax(Identity(), AugMix(), steps=3),
    AdvMix(Identity(), AugMix(), draws=2),
    AdvMax(Identity(), AugMix(), draws=2, steps=2, flow_steps=2),
    AugMixPgdat(Identity(), AugMix(), steps=2),
]


def one(terms: Iterator[Tensor]) -> Tensor:
    (term,) = terms
    return term


def prepared(method: Method) -> nn.Module:
    """Its network, with other statistics, weights and biases on route A than on route M."""
    model, generator = method.prepare(network()), torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, DuBN):
            norm = module.auxiliary
            for value, low in ((norm.running_mean, -0.5), (norm.running_var, 0.5)):
                value.uniform_(low, low + 1, generator=generator)
            for parameter in (norm.weight, norm.bias):
                parameter.data.normal_(generator=generator)
    return model


def loss_on_routes(
    model: nn.Module, images: dict[str, Tensor], routes: str, y: Tensor, lam: float, form: str
) -> float:
    """The literal loss of clean, view and hard images, each on its route."""
    z = {}
    for (name, x), route in zip(images.items(), routes, strict=True):
        with routed(model, "A" if route == "A" else "M"):
            z[name] = model(x).tolist()
    losses = []
    for i in range(len(y)):
        clean, worst = (
            vicinities_oracle.cross_entropy(z[name][i], y[i].tolist()) for name in ("clean", "hard")
        )
        fit = clean if form == "code" else (clean + worst) / 2
        losses.append(fit + lam * oracle.jensen_shannon([views[i] for views in z.values()]))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("routing", ["code", "paper"])
@pytest.mark.parametrize("norm", ["dubin", "dubn"])
def test_augmax_equals_equation_5(form: Any, routing: Any, norm: Any) -> None:
    x, y = batch()
    method = AugMax(Identity(), AugMix(), steps=2, lam=7.0, loss=form, routing=routing, norm=norm)
    model = prepared(method)
    twin = copy.deepcopy(model)
    ours = one(method(model, x, y, Rng.seeded(0)))

    rng = Rng.seeded(0)
    chains = AugMix().chains(x, rng)
    with routed(twin, "A"):
        hard = MixtureAscent(2, 0.1)(twin, x, y, rng, chains=chains)
    images = {"hard": hard, "view": AugMix()(x, y, rng)[0], "clean": x}
    routes = "AMM" if routing == "code" else "AAM"
    expected = loss_on_routes(twin, images, routes, y, 7.0, form)
    assert ours.item() == pytest.approx(expected, rel=1e-10)
    for (key, a), b in zip(model.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize(
    "method",
    [
        AdvMix(Identity(), AugMix(), draws=3, lam=7.0),
        AdvMax(Identity(), AugMix(), draws=2, steps=2, flow_bound=0.6, flow_steps=3, lam=7.0),
    ],
    ids=lambda method: type(method).__name__,
)
def test_advmix_and_advmax_have_their_hard_image_in_augmaxs_place(method: AdvMix | AdvMax) -> None:
    """Searched on route A; AdvMax goes on with AugMax's ascent and a flow in half bounds."""
    x, y = batch()
    model = prepared(method)
    twin = copy.deepcopy(model)
    ours = one(method(model, x, y, Rng.seeded(0)))

    rng = Rng.seeded(0)
    plan, m, w = AugMix().plan(8, rng), beta(1.0, 8, rng), dirichlet(8, 3, rng)
    with routed(twin, "A"):
        chains = WorstLevels(method.draws)(twin, x, y, rng, plan=plan, m=m, w=w)
        hard = mixture(x, chains, m.to(x), w.to(x))
        if isinstance(method, AdvMax):
            mixed = MixtureAscent(2, 0.1)(twin, x, y, rng, chains=chains)
            hard = Flow(0.6, 0.3, 3)(twin, mixed, y, rng)
    images = {"hard": hard, "view": AugMix()(x, y, rng)[0], "clean": x}
    expected = loss_on_routes(twin, images, "AMM", y, 7.0, "code")
    assert ours.item() == pytest.approx(expected, rel=1e-10)


def test_each_route_records_its_own_images_once() -> None:
    x, y = batch()
    for method in (*ALL, AugMax(Identity(), AugMix(), steps=3, routing="paper")):
        model = method.prepare(network())
        one(method(model, x, y, Rng.seeded(0)))
        paper = getattr(method, "routing", "code") == "paper"
        for module in model.modules():
            if isinstance(module, DuBN):
                seen = [int(n.num_batches_tracked) for n in (module.main, module.auxiliary)]
                assert seen == ([1, 2] if paper else [2, 1])


def test_augmix_pgdat_puts_the_pgd_image_in_augmaxs_place() -> None:
    x, y = batch()
    method = AugMixPgdat(Identity(), AugMix(), steps=2)
    model = prepared(method)
    twin = copy.deepcopy(model)
    ours = one(method(model, x, y, Rng.seeded(0)))
    rng = Rng.seeded(0)
    with routed(twin, "A"):
        hard = Pgd.of_pixels(8 / 255, 2 / 255, 2)(twin, x, y, rng)
        worst = twin(hard)
    view = twin(AugMix()(x, y, rng)[0])
    clean = twin(x)
    expected = F.cross_entropy(clean, y) + 10 * jensen_shannon([clean, view, worst]).mean()
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("method", ALL, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("base", [Mixup(), CutMix()], ids=repr)
def test_any_vicinity_may_come_first(method: Any, base: Any) -> None:
    """Every view is one of the mixed image, and all carry its soft target."""
    x, y = batch()
    mixed, targets = base(x, y, rng := Rng.seeded(0))
    first, second = method.prepare(network()), method.prepare(network())
    composed = one(replace(method, vicinity=base)(first, x, y, Rng.seeded(0)))
    torch.testing.assert_close(composed, one(method(second, mixed, targets, rng)))


@pytest.mark.parametrize("norm", ["bn", "ibn"])
def test_without_routes_all_three_forwards_share_the_statistics(norm: Any) -> None:
    x, y = batch()
    method = AugMax(Identity(), AugMix(), steps=1, norm=norm)
    model = method.prepare(network())
    one(method(model, x, y, Rng.seeded(0)))
    assert model.get_buffer("body.bn.num_batches_tracked") == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("method=augmax method.steps=-1", "^method.steps ... 0 ... -1"),
        ("method=augmax method.step_size=0", "^method.step_size ... 0"),
        ("method=augmax method.patience=2", "^method.patience ... 1 ... early_stop ... none ... 2"),
        ("method=augmax method.lam=-1", "^method.lam ... 0 ... -1"),
        (
            "method=augmax method.norm=bn method.routing=paper",
            "^method.routing ... norm ... bn",
        ),
        ("method=advmix method.draws=0", "^method.draws ... 1 ... 0"),
        ("method=advmax method.flow_bound=-1", "^method.flow_bound ... 0 ... -1"),
        ("method=augmix_pgdat method.epsilon=-1", "^method.epsilon ... 0 ... -1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(overrides: str, message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        build(compose("dataset=digits", *overrides.split()))


@pytest.mark.parametrize("method", ALL[:3], ids=lambda method: type(method).__name__)
def test_chains_are_needed_where_they_are_searched(method: Any) -> None:
    wrong = object.__new__(type(method))  # past the check of annotations
    vars(wrong).update(vars(method), view=Mixup())
    with pytest.raises(ValueError, match=says("^view ... AugMix ... Mixup")):
        wrong.__post_init__()
