"""DuBIN's placement and sizes as in AugMax's fact sheet §4, and what its routes share."""

import copy
from collections.abc import Callable
from functools import partial

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from wording import says

from vicinal.models.densenet import DenseNetBC
from vicinal.models.init import without_weights
from vicinal.models.mlp import MLP
from vicinal.models.normalized import Normalized
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnet import ResNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.timm import Timm
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.dubin import DuBN, HalfInstance, first_norms, routed, with_norm
from vicinal.surgery.modes import evaluating

Build = Callable[..., nn.Module]

SHEET = [
    (partial(ResNet, 18), 6, 14, {10: 11_182_666, 100: 11_228_836, 200: 11_280_136}),
    (partial(WideResNet, 40, 2), 12, 25, {10: 2_248_426, 100: 2_260_036}),
    (partial(ResNeXt, 29, 4, 32), 6, 25, {10: 6_831_946, 100: 6_924_196}),
    (partial(Timm, "resnet18"), 6, 14, {1000: 11_698_216}),
]
IDS = ["resnet18", "wrn40_2", "resnext29", "timm-resnet18"]


def normalized(build: Build, num_classes: int = 10, size: int = 32) -> nn.Module:
    body = build(num_classes=num_classes, shape=(3, size, size))
    return Normalized(body, (0.5,) * 3, (0.2,) * 3)


def small(**_: object) -> nn.Module:
    torch.manual_seed(0)
    return normalized(partial(WideResNet, 10, 1), 4, 16)


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def images(number: int = 6) -> Tensor:
    return torch.rand(number, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("build", "halves", "rest", "parameters"), SHEET, ids=IDS)
def test_counts_are_those_of_the_sheet(
    build: Build, halves: int, rest: int, parameters: dict[int, int]
) -> None:
    for num_classes, expected in parameters.items():
        with without_weights():
            model = with_norm(normalized(build, num_classes), "dubin")
        assert sum(p.numel() for p in model.parameters()) == expected
        assert count(model, HalfInstance) == halves
        assert count(model, DuBN) - halves == rest
        assert count(model, nn.BatchNorm2d) == 2 * (halves + rest)  # no plain one anywhere


def test_places_are_the_first_norms_of_all_stages_but_the_last() -> None:
    with without_weights():
        wide = first_norms(normalized(partial(WideResNet, 40, 2)))
        timm = first_norms(normalized(partial(Timm, "resnet18")))
    assert wide == [f"body.stage{s}.{b}.bn1" for s in (1, 2) for b in range(6)]
    assert timm == [f"body.network.layer{s}.{b}.bn1" for s in (1, 2, 3) for b in range(2)]


@pytest.mark.parametrize("training", [True, False])
def test_each_half_is_normalised_by_its_own_rule(training: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 6, 4, 4, generator=generator, dtype=torch.float64)
    norm = nn.BatchNorm2d(6).double()
    for tensor in norm.state_dict().values():
        if tensor.ndim:
            tensor.uniform_(0.5, 1.5, generator=generator)
    before = copy.deepcopy(norm)
    half = HalfInstance(norm).train(training)
    ours = half(x)
    for n in range(5):
        for c in range(6):
            values = x[n, c] if c < 3 else x[:, c] if training else None
            mean = before.running_mean[c] if values is None else values.mean()
            var = before.running_var[c] if values is None else values.var(unbiased=False)
            expected = (x[n, c] - mean) / (var + 1e-5).sqrt()
            expected = expected * before.weight[c] + before.bias[c]
            torch.testing.assert_close(ours[n, c], expected)


def test_routes_have_their_own_statistics_and_share_the_instance_half() -> None:
    model, x = with_norm(small(), "dubin"), images()
    start = copy.deepcopy(model.state_dict())
    with routed(model, "A"):
        model(x)
    for key, value in model.state_dict().items():
        moved = ".auxiliary.running" in key or ".auxiliary.num" in key
        assert torch.equal(value, start[key]) != moved, key
    model(x)  # the default is M
    half = next(module for module in model.modules() if isinstance(module, HalfInstance))
    with torch.no_grad(), evaluating(model):
        m = model(x)
        with routed(model, "A"):
            assert torch.equal(model(x), m)  # both have seen the same batch once
            half.weight += 1
            a = model(x)
        assert torch.equal(model(x), a)
        assert not torch.equal(a, m)


def test_evaluation_is_on_the_clean_route() -> None:
    model, x = with_norm(small(), "dubin").eval(), images()
    clean = model(x)
    for module in model.modules():
        if isinstance(module, DuBN):
            nn.init.normal_(module.auxiliary.weight)
    assert torch.equal(model(x), clean)
    with routed(model, "A"):
        assert not torch.equal(model(x), clean)


def test_routes_come_back_after_an_error_and_out_of_each_other() -> None:
    model = with_norm(small(), "dubn")
    norms = [module for module in model.modules() if isinstance(module, DuBN)]
    with routed(model, "A"):
        with pytest.raises(RuntimeError), routed(model, "M"):
            model.get_submodule("body.stem")(images()[:, :1])
        assert {norm.route for norm in norms} == {"A"}
    assert {norm.route for norm in norms} == {"M"}


def test_a_compiled_network_has_one_graph_per_route_and_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    plain = with_norm(layers, "dubn").double()
    model, x, graphs = copy.deepcopy(plain), torch.rand(2, 3, 6, 6, dtype=torch.float64), []

    def backend(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    model.compile(backend=backend)
    for number in range(12):
        results = []
        for network in (plain, model):
            network.train(number % 3 > 0)
            with routed(network, "MA"[number % 2]):
                results.append(network(x * number))
        assert torch.equal(*results)
    assert len(graphs) == 4


def test_bn_leaves_the_network_as_it_is_and_dubn_computes_the_same() -> None:
    x = images()
    expected = small()(x)
    assert torch.equal(with_norm(small(), "bn")(x), expected)
    model = with_norm(small(), "dubn")
    assert torch.equal(model(x), expected)
    assert count(model, nn.BatchNorm2d) == 2 * count(small(), nn.BatchNorm2d)
    with routed(small(), "A") as nothing:
        assert nothing is None


def test_ibn_has_one_norm_beside_the_instance_half() -> None:
    model = with_norm(small(), "ibn")
    assert count(model, DuBN) == 0
    assert count(model, HalfInstance) == 2
    assert sum(p.numel() for p in model.parameters()) == sum(
        p.numel() for p in small().parameters()
    )


def test_weights_that_the_network_started_with_are_kept() -> None:
    torch.manual_seed(0)
    model = with_norm(normalized(partial(Timm, "resnet18"), 5), "dubin")
    last = model.get_submodule("body.network.layer1.0.bn2")
    assert isinstance(last, DuBN)
    assert not last.main.weight.any()  # timm starts a residual branch at 0
    assert not last.auxiliary.weight.any()
    assert last.main.weight is not last.auxiliary.weight


@pytest.mark.parametrize(
    ("build", "norm", "places", "message"),
    [
        (partial(DenseNetBC, 22, 12), "dubin", None, "^method.places ... bn1 ... method.norm=bn"),
        (partial(MLP, 8, 1), "ibn", None, "^method.places ... null"),
        (partial(MLP, 8, 1), "ibn", ["body.fc"], "^method.places ... none ... method.norm=bn"),
        (partial(MLP, 8, 1), "dubn", None, "^method.norm ... bn ... dubn ... BatchNorm2d"),
        (
            partial(PyramidNet, 29, 31),
            *(
                "ibn",
                ["body.stage1.0.bn2"],
                "^method.norm ... bn ... dubn ... body.stage1.0.bn2 ... 19",
            ),
        ),
        (
            partial(WideResNet, 10, 1),
            "dubin",
            ["body.stem"],
            "^method.places ... body.stem ... body.bn",
        ),
        (
            partial(WideResNet, 10, 1),
            "dubn",
            ["body.bn"],
            "^method.places ... dubn ... ['body.bn']",
        ),
        (partial(WideResNet, 10, 1), "gn", None, "^method.norm ... bn, ibn, dubn, dubin ... gn"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(
    build: Build, norm: str, places: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=says(message)):
        with_norm.__wrapped__(normalized(build), norm, places)  # past the check of annotations


def test_places_name_the_norms_where_there_is_no_rule() -> None:
    model = normalized(partial(DenseNetBC, 22, 12))
    with_norm(model, "dubin", ["body.stage1.0.bn1"])
    assert isinstance(model.get_submodule("body.stage1.0.bn1"), HalfInstance)
    assert count(model, HalfInstance) == 1
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("build", "halves"), [(entry[0], entry[1]) for entry in SHEET], ids=IDS)
def test_both_routes_reach_every_parameter(build: Build, halves: int) -> None:
    torch.manual_seed(0)
    if "Timm" in str(build):
        build = partial(build, options={"zero_init_last": False})
    model = with_norm(normalized(build, 4), "dubin")
    with routed(model, "A"):
        augmented = model(torch.rand(3, 3, 32, 32))
    loss = (model(torch.rand(3, 3, 32, 32)) ** 2).sum() + (augmented**3).sum()
    names = [name for name, _ in model.named_parameters()]
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name
