"""What is switched for a while: what a compiled search computes meanwhile, and what is restored."""

from collections.abc import Callable, Iterator

import pytest
import torch
from composing import compose
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch.nn import functional as F

from vicinal.cli.configs import build
from vicinal.draws import Rng
from vicinal.run import Run
from vicinal.surgery.modes import constant_weights, searched

# Between them they search for images, for mixtures and for flows; and their forwards to train on.
SEARCHES = {"pgdat": 1, "smooth_adv": 1, "advmax method.norm=bn": 3}
aten = torch.ops.aten


class Network(nn.Module):
    """A class of ours: dynamo may pass over containers of torch's."""

    def __init__(self) -> None:
        super().__init__()
        norm, relu, flat = nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
        layers = nn.Conv2d(1, 4, 3), norm, relu, nn.Conv2d(4, 4, 3), flat, nn.Linear(64, 10)
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def network() -> nn.Module:
    torch.manual_seed(0)
    return Network()


def batch() -> tuple[Tensor, Tensor]:
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return x, F.one_hot(torch.arange(4), 10).float()


@pytest.fixture
def compiled() -> Iterator[Callable[[nn.Module], list[int]]]:
    """Compiles a network; lists how many weight gradients each backward of it computes."""

    def weighed(model: nn.Module) -> list[int]:
        computed: list[int] = []

        def backward(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
            calls = [n for n in graph.graph.nodes if n.target is aten.convolution_backward.default]
            weights = sum(bool(call.args[-1][1]) for call in calls)

            def run(*args: Tensor) -> object:
                computed.append(weights)
                return graph(*args)

            assert len(calls) == 2
            return make_boxed_func(run)

        backend = aot_autograd(fw_compiler=lambda g, _: make_boxed_func(g), bw_compiler=backward)
        model.compile(backend=backend)
        return computed

    yield weighed
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo
@pytest.mark.parametrize("words", SEARCHES)
def test_compiled_searches_compute_no_gradient_of_a_weight(
    words: str, compiled: Callable[[nn.Module], list[int]]
) -> None:
    """Only the backwards to train by do, of both convolutions."""
    name, *settings = words.split()
    task = "dataset=digits", "model=wrn10_2", f"method={name}"
    run: Run = build(compose(*task, *settings))
    model = run.method.prepare(network())
    computed = compiled(model)
    for term in run.method(model, *batch(), Rng.seeded(0)):
        term.backward()
    trained = SEARCHES[words]
    assert sorted(computed)[-trained:] == [2] * trained
    assert not any(sorted(computed)[:-trained])
    assert len(computed) > trained


@pytest.mark.parametrize("mode", [constant_weights, searched])
def test_weights_are_differentiated_again_afterwards_but_for_frozen_ones(mode) -> None:
    model = network().train()
    next(model.parameters()).requires_grad = False
    before = [parameter.requires_grad for parameter in model.parameters()]
    during: list[bool] = []

    def fail(*_: object) -> None:
        during.extend(parameter.requires_grad for parameter in model.parameters())
        raise ZeroDivisionError

    model.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError), mode(model):
        model(batch()[0])
    assert during == [False] * len(before)
    assert [parameter.requires_grad for parameter in model.parameters()] == before
    assert model.training
