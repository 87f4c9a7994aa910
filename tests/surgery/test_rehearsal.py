"""A rehearsal names the layer that fails, and leaves the network as it was."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from wording import says

from vicinal.models.densenet import DenseNetBC
from vicinal.models.mlp import MLP
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.rehearsal import refusal
from vicinal.surgery.slimmable import check_slimmable, narrowed

SHAPE = {"num_classes": 4, "shape": (3, 8, 8)}


class Shuffled(nn.Module):
    """Reshapes to a number of channels that only the full network has."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), 2, 8, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


def narrow(model: nn.Module) -> str | None:
    return refusal(model, lambda twin: narrowed(twin, 0.7))


def sequence(*middle: nn.Module, side: int | None = None) -> nn.Module:
    head = nn.AdaptiveAvgPool2d(1) if side is None else nn.AvgPool2d(side)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), *middle, head, nn.Flatten(), nn.Linear(16, 4)
    )


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "joined": (
        lambda: DenseNetBC(10, 4, **SHAPE),
        "DenseLayer at body.stage1.0: model",
    ),
    "reshaped": (lambda: sequence(nn.ReLU(), Shuffled()), "Shuffled at body.2: shape '[2, 2, 8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_layer_is_named(name: str) -> None:
    build, said = REFUSED[name]
    body = build()
    body.stages = ()
    model = Normalized(body, (0.5,) * 3, (0.5,) * 3)
    state = {key: value.clone() for key, value in model.eval().state_dict().items()}
    parameters = list(model.parameters())
    drawn = torch.get_rng_state()
    found = narrow(model)
    assert found is not None
    assert found.startswith(said)
    with pytest.raises(ValueError, match=says(f"^model ... {said}")):
        check_slimmable(model)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not any(m.training or m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_what_narrows_is_not_refused() -> None:
    for body in (WideResNet(10, 1, **SHAPE), MLP(8, 1, num_classes=4, shape=(5,))):
        assert narrow(body) is None


def test_sizes_of_images_are_tried() -> None:
    assert narrow(sequence(Shuffled(), side=224)) is not None


def test_where_no_input_is_taken_nothing_is_refused() -> None:
    for model in (sequence(Shuffled(), side=1), nn.ReLU()):
        assert narrow(model) is None


def test_it_costs_no_arithmetic() -> None:
    """On the meta device there are shapes alone: a hook on the twin sees no number."""
    seen: list[str] = []
    model = sequence()
    model[0].register_forward_hook(lambda _m, _args, out: seen.append(out.device.type))
    assert narrow(model) is None
    assert set(seen) == {"meta"}
