"""AugMax against Eq. 2-6 and Alg. 1 of its paper, and its relatives of Table 10."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from composing import compose
from oracles import augmax as oracle
from oracles import chains as chains_oracle
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
from vicinal.images.chains import Plan, mixture, rendered
from vicinal.losses import jensen_shannon
from vicinal.methods.advmax import AdvMax
from vicinal.methods.advmix import AdvMix
from vicinal.methods.augmax import AugMax
from vicinal.methods.augmix_pgdat import AugMixPgdat
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.dubin import DuBN, routed
from vicinal.surgery.modes import evaluating
from vicinal.vicinities.augmix import AugMix
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

STOPS = [("none", 1), ("paper", 1), ("paper", 2), ("intended", 1), ("intended", 3)]
ALL: list[Method] = [
    AugMax(Identity(), AugMix(), steps=3),
    AdvMix(Identity(), AugMix(), draws=2),
    AdvMax(Identity(), AugMix(), draws=2, steps=2, flow_steps=2),
    AugMixPgdat(Identity(), AugMix(), steps=2),
]


def smooth() -> nn.Module:
    """Without kinks or norms, so that differences give the gradient's sign."""
    torch.manual_seed(1)
    layers = [nn.Flatten(), nn.Linear(75, 12), nn.Tanh(), nn.Linear(12, 3)]
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def network() -> nn.Module:
    torch.manual_seed(0)
    body = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    return Normalized(body, (0.5,) * 3, (0.2,) * 3).double()


def batch(count: int = 8, size: int = 8, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (count, 3, size, size), generator=generator) / 255
    return x.double(), F.one_hot(torch.arange(count) % classes, classes).double()


def one(terms: Iterator[Tensor]) -> Tensor:
    (term,) = terms
    return term


@pytest.mark.parametrize(("early_stop", "k"), STOPS)
def test_the_ascent_equals_algorithm_1(early_stop: Any, k: int) -> None:
    model, (x, y) = smooth(), batch(6, 5, 3)
    chains = rendered(x, Plan.drawn(6, 3, None, 9.0, Rng.seeded(3)))
    search = MixtureAscent(4, 0.1, early_stop, k)
    ours = search(model, x, y, Rng.seeded(0), chains=chains)
    start = torch.rand((6, 4), generator=Rng.seeded(0).cpu).double()
    for i in range(6):
        expected = oracle.ascent(
            lambda image: model(image[None])[0].tolist(),
            x[i],
            y[i].tolist(),
            list(chains[i]),
            start[i].tolist(),
            **{"steps": 4, "size": 0.1, "early_stop": early_stop, "k": k},
        )
        torch.testing.assert_close(ours[i], expected, rtol=1e-12, atol=1e-12)


def test_the_readings_of_early_stopping_differ() -> None:
    model, (x, y) = smooth(), batch(6, 5, 3)
    chains = rendered(x, Plan.drawn(6, 3, None, 9.0, Rng.seeded(3)))
    found = [
        MixtureAscent(4, 0.1, *stop)(model, x, y, Rng.seeded(0), chains=chains) for stop in STOPS
    ]
    assert all(not torch.equal(a, b) for a, b in pairwise(found))


class Brightness(nn.Module):
    """Two logits whose loss for class 0 grows with the image's mean."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


@pytest.mark.parametrize(("steps", "most"), [(10, 0.909), (5, 0.787)])
def test_weights_never_reach_a_vertex(steps: int, most: float) -> None:
    """p starts in [0, 1)³ and moves by at most n α: w = e^(1 + nα) / (.. + 2 e^(-nα)) at most."""
    x, y = torch.zeros(4000, 1, 1, 1), torch.tensor([[1.0, 0.0]]).expand(4000, 2)
    chains = (
        torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1, 1).expand(4000, -1, 1, 1, 1)
    )
    search = MixtureAscent(steps, 0.1)
    worst = search(
        Brightness(), x, y, Rng.seeded(0), chains=chains
    ).flatten()  # m w_1, and m is at most 1
    assert most - 0.06 < worst.max() <= most + 0.001
    if steps == 10:
        lowest = torch.tensor(1.0).exp() / (1.0 + torch.tensor(1.0).exp() * 2)
        assert worst.min() > lowest  # every m has reached 1 and every w_1 has grown


@pytest.mark.parametrize("count", [2, 3])
def test_jensen_shannon_equals_its_definition_and_its_bounds(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(9, 5, generator=generator).double() * 3 for _ in range(count)]
    ours = jensen_shannon(views)
    for i in range(9):
        expected = oracle.jensen_shannon([view[i].tolist() for view in views])
        torch.testing.assert_close(ours[i].item(), expected)
    assert jensen_shannon(views[:1] * count).abs().max() < 1e-12
    apart = [torch.eye(5)[k : k + 1].double() * 1e4 for k in range(count)]
    most = jensen_shannon(apart)  # disjoint, and one-hot to machine precision
    torch.testing.assert_close(most.exp(), torch.full_like(most, count))
    assert (ours < torch.tensor(count).log()).all()


def test_jensen_shannons_gradient_is_finite_where_a_probability_underflows() -> None:
    views = [torch.tensor([[0.0, 300.0]], requires_grad=True), torch.tensor([[0.0, 400.0]])]
    (gradient,) = torch.autograd.grad(jensen_shannon(views).sum(), views[0])
    assert gradient.isfinite().all()


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

    return {"levels": levels, "mixtures": mixtures, "flows": flows}


@pytest.mark.parametrize("name", ["levels", "mixtures", "flows"])
@pytest.mark.parametrize("within", [torch.no_grad, torch.enable_grad])
def test_searches_leave_the_network_as_it_was(name: str, within: Callable[[], Any]) -> None:
    x, y = batch()
    model = ALL[0].prepare(network())
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


@pytest.mark.parametrize("name", ["levels", "mixtures", "flows"])
def test_a_search_that_fails_restores_modes(name: str) -> None:
    x, y = batch()
    model = network().train()
    model.get_submodule("body").register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        searches()[name](model, x, y)
    assert all(module.training for module in model.modules())


def test_samples_are_searched_independently() -> None:
    model, (x, y) = network(), batch()
    chains = rendered(x, Plan.drawn(8, 3, None, 3.0, Rng.seeded(0)))
    start = Rng.seeded(0)
    together = MixtureAscent(4, 0.1)(model, x, y, start, chains=chains)
    first = MixtureAscent(4, 0.1)(model, x[:5], y[:5], Rng.seeded(0), chains=chains[:5])
    torch.testing.assert_close(together[:5], first)


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


def smooth_on(x: Tensor, y: Tensor) -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), y.shape[1])).double().eval()


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


def test_augmix_pgdat_puts_the_pgd_image_in_augmaxs_place() -> None:
    x, y = batch()
    method = AugMixPgdat(Identity(), AugMix(), steps=2)
    model = prepared(method)
    twin = copy.deepcopy(model)
    ours = one(method(model, x, y, Rng.seeded(0)))
    rng = Rng.seeded(0)
    with routed(twin, "A"):
        hard = Pgd(epsilon=8 / 255, step=2 / 255, steps=2)(twin, x, y, rng)
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


def test_the_ascent_uses_the_running_statistics_of_the_route_that_is_on() -> None:
    x, y = batch()
    model = ALL[0].prepare(network())
    chains = rendered(x, Plan.drawn(8, 3, None, 9.0, Rng.seeded(0)))
    for module in model.modules():
        if isinstance(module, DuBN):
            nn.init.normal_(module.main.running_mean)
    search, found = MixtureAscent(2, 0.1), {}
    for route in ("A", "M"):
        with routed(model, route):
            found[route] = search(model, x, y, Rng.seeded(0), chains=chains)
    with evaluating(model):
        fresh = search(ALL[0].prepare(network()), x, y, Rng.seeded(0), chains=chains)
    assert torch.equal(found["A"], fresh)
    assert not torch.equal(found["M"], fresh)


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
