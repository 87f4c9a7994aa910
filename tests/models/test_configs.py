"""Every file in configs/model is one network that behaves; a new file is tested unasked."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from composing import written
from hydra.utils import get_object, instantiate
from torch import Tensor, nn

from vicinal.cli.configs import CONFIGS, compose
from vicinal.contracts import Detector, LanguageModel


def is_a(name: str, contract: type) -> bool:
    kind = get_object(written("model", name)["_target_"])
    return isinstance(kind, type) and issubclass(kind, contract)


EVERY = sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml"))
READERS = [name for name in EVERY if is_a(name, LanguageModel)]  # of text
NAMES = [name for name in EVERY if name not in READERS and not is_a(name, Detector)]
LIGHT = 3_000_000  # parameters that a CPU test may compute with


SHALLOW = {  # depths at which the deepest networks have the same kinds of blocks
    "densenet_bc190": 22,
    "preact_resnet110": 20,
    "pyramidnet200": 20,
    "resnet101": 50,
    "resnet110": 20,
    "resnet152": 50,
}
ONE_SIZE = ("mlp", "lenet_speech", "vgg11_speech")  # networks that flatten what they classify
LEAST = {"vgg11_speech": 32}  # pixels per side, where 16 are too few
DEPTHS = [
    *[(name, SHALLOW.get(name)) for name in NAMES],
    *[pytest.param(name, None, marks=pytest.mark.slow) for name in SHALLOW],
]


def from_config(
    name: str, num_classes: int, shape: tuple[int, ...], device: str, depth: int | None = None
) -> nn.Module:
    less = {} if depth is None else {"depth": depth}
    with torch.device(device):
        return constructor(name)(num_classes=num_classes, shape=shape, **less)


@cache
def constructor(name: str) -> Callable[..., nn.Module]:
    return instantiate(compose(f"model={name}").model, _convert_="all")


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_stages_fire_once_in_order_and_every_parameter_gets_a_gradient(
    name: str, depth: int | None
) -> None:
    network = from_config(name, 7, (3, 32, 32), "meta", depth)
    fired = []
    for stage in network.stages:
        hook = lambda module, args, output, stage=stage: fired.append((stage, output.ndim))  # noqa: E731
        network.get_submodule(stage).register_forward_hook(hook)
    logits = network(torch.empty(2, 3, 32, 32, device="meta"))
    assert logits.shape == (2, 7)
    ndim = 2 if name == "mlp" else 4
    assert fired == [(stage, ndim) for stage in network.stages]
    logits.sum().backward()
    assert [k for k, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_one_network_takes_every_size_of_image(name: str, depth: int | None) -> None:
    """GradAug trains on 32, 28 and 24 pixels at once; digits have 16; odd sizes come from crops."""
    network = from_config(name, 7, (3, 32, 32), "meta", depth).eval()
    if name in ONE_SIZE:
        pytest.skip("it has the size of its input")
    for pixels in (28, 24, 16, 27):
        assert network(torch.empty(2, 3, pixels, pixels, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", NAMES)
def test_grey_digits_are_told_apart_sample_by_sample(name: str) -> None:
    """In eval mode a sample's logits depend on that sample, and on nothing else of the batch."""
    shape = (1, *[LEAST.get(name, 16)] * 2)
    if size(from_config(name, 10, shape, "meta")) > LIGHT:
        pytest.skip("large")
    torch.manual_seed(0)
    network = from_config(name, 10, shape, "cpu").eval()
    x = torch.rand(3, *shape)
    with torch.no_grad():
        logits = network(x)
        changed = network(torch.cat([x[:2], x[2:] + 0.5]))
        alone = torch.cat([network(sample[None]) for sample in x])
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[:2], changed[:2], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits[2], changed[2], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_branch_is_what_is_added_to_the_shortcut(name: str) -> None:
    """With the branch's last module silenced from outside, a block returns its shortcut."""
    network = from_config(name, 7, (3, *[LEAST.get(name, 16)] * 2), "meta")
    blocks = {k: m for k, m in network.named_modules() if hasattr(m, "shortcut")}
    if not blocks:
        pytest.skip("no residual blocks")
    block = blocks.popitem()[1].to_empty(device="cpu")
    block.load_state_dict({k: torch.rand(v.shape) for k, v in block.state_dict().items()})
    children = list(dict(block.named_children()))
    ends = {"relu2", "relu3"} & set(children[-1:])  # post-activation blocks: ReLU after the sum
    branch = [k for k in children if k.startswith(("conv", "bn"))][-1]
    module = block.get_submodule(branch)
    module.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    taken: list[Tensor] = []
    block.get_submodule("shortcut").register_forward_hook(
        lambda module, args, output: taken.append(output)
    )
    first = block.get_submodule(children[0])
    channels = first.num_features if isinstance(first, nn.BatchNorm2d) else first.in_channels
    output = block(torch.randn(2, channels, 6, 6))
    expected = taken[0].clamp(min=0) if ends else taken[0]
    torch.testing.assert_close(output[:, : expected.shape[1]], expected)
    assert bool((output[:, expected.shape[1] :] == 0).all())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("preact_resnet18", [(64, 32), (64, 32), (128, 16), (256, 8), (512, 4)]),
        ("preact_resnet34", [(64, 32), (64, 32), (128, 16), (256, 8), (512, 4)]),
        ("wrn28_10", [(16, 32), (160, 32), (320, 16), (640, 8)]),
        ("wrn28_10_meliketoy", [(16, 32), (160, 32), (320, 16), (640, 8)]),
        ("pyramidnet200", [(16, 32), (4 * 96, 32), (4 * 176, 16), (4 * 256, 8)]),
        ("densenet_bc190", [(80, 32), (1320, 32), (1900, 16), (2190, 8)]),
    ],
)
def test_features_after_each_stage(name: str, expected: list[tuple[int, int]]) -> None:
    """The table of the PatchUp sheet 1.3 and the channels of the other sheets."""
    network = from_config(name, 10, (3, 32, 32), "meta")
    shapes = []
    for stage in network.stages:
        network.get_submodule(stage).register_forward_hook(
            lambda module, args, output: shapes.append((output.shape[1], output.shape[2]))
        )
    network(torch.empty(2, 3, 32, 32, device="meta"))
    assert shapes == expected


@pytest.mark.parametrize("name", ["resnet101", "resnet152"])
def test_tiny_imagenet_networks_see_32_pixels_after_the_stem(name: str) -> None:
    network = from_config(name, 200, (3, 64, 64), "meta")
    stem = network.get_submodule("stem")(torch.empty(1, 3, 64, 64, device="meta"))
    assert stem.shape == (1, 64, 32, 32)


@pytest.mark.parametrize("name", ["wrn28_10", "wrn28_10_meliketoy", "preact_resnet18"])
def test_what_enters_the_second_convolution_is_a_relus_output(name: str) -> None:
    """Where mixup's Table 2 puts its dropout."""
    network = from_config(name, 10, (3, 16, 16), "meta")
    block = network.get_submodule("stage1.0").to_empty(device="cpu")
    block.load_state_dict({k: torch.rand(v.shape) for k, v in block.state_dict().items()})
    seen: list[Tensor] = []
    block.get_submodule("relu2").register_forward_hook(lambda m, args, output: seen.append(output))
    block.get_submodule("conv2").register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    block(torch.randn(2, block.get_submodule("bn1").num_features, 6, 6))
    assert seen[0] is seen[1]
    assert float(seen[0].detach().min()) == 0


@pytest.mark.parametrize("name", READERS)
def test_a_language_model_reads_each_text_alone_and_ahead_of_no_word(name: str) -> None:
    """Every parameter gets a gradient; a word changes what follows it in its text, and no more."""
    torch.manual_seed(0)
    network = from_config(name, 7, (3, 32, 32), "cpu")
    assert isinstance(network, LanguageModel)
    words = torch.randint(7, (3, 5))
    network(words).logits.sum().backward()
    assert [k for k, parameter in network.named_parameters() if parameter.grad is None] == []
    changed = words.clone()
    changed[1, 2] = (words[1, 2] + 1) % 7
    before, after = (network.eval()(each).logits for each in (words, changed))
    moved = (before - after).abs().amax(2) > 1e-6
    assert before.shape == (3, 5, 7)
    assert moved.tolist() == [[False] * 5, [False] * 2 + [True] * 3, [False] * 5]
