"""ProxylessNAS's networks: their sizes, and the names of the authors' weights."""

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path

import pytest
import torch
from composing import compose
from hydra.utils import instantiate
from torch import Tensor, nn
from wording import says

from vicinal.cli.configs import recorded
from vicinal.data.size import Size
from vicinal.models.init import without_weights
from vicinal.models.normalized import Normalized
from vicinal.models.proxyless import ProxylessNet
from vicinal.storage.starts import OfFile, begin
from vicinal.tables.networks import counts

# Parameters, and multiply-adds in millions as ptflops counts them: with norms, ReLUs and pooling.
# MaxUp's Table 2 prints 7.12 and 481 for CPU, 4.36 and 470 for GPU, 6.86 and 603 for Mobile x 1.4.
SIZES = {
    "proxyless_cpu": (4_361_648, 465),
    "proxyless_gpu": (7_119_848, 481),
    "proxyless_mobile14": (6_857_568, 603),
}
BLOCKS = [[[3, 1]], [[5, 3], [], [3, 6]], [[7, 3]], [[3, 2]], [[3, 2]], [[3, 2]], [[3, 2]]]
WIDTHS = [3, 4, 5, 6, 7, 8, 9]


def tiny(widths: Sequence[int] = WIDTHS, blocks: Sequence[Sequence[Sequence[int]]] = BLOCKS):
    torch.manual_seed(0)
    return ProxylessNet(4, widths, blocks, 10, num_classes=5, shape=(3, 32, 32))


@pytest.mark.parametrize(("name", "expected"), SIZES.items())
def test_sizes_are_those_of_maxups_table_2_with_two_rows_exchanged(
    name: str, expected: tuple[int, int]
) -> None:
    model = compose(f"model={name}").model
    found = counts(recorded(compose(f"model={name}"))["model"], Size(1, 1, (3, 224, 224), 1000))
    with without_weights():
        network = instantiate(model, _convert_="all")(num_classes=1000, shape=(3, 224, 224))
    more = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        nonlocal more
        each = {nn.BatchNorm2d: 2, nn.ReLU6: 1, nn.AdaptiveAvgPool2d: 1}.get(type(module), 0)
        more += each * prod(inputs[0].shape[1:])

    for module in network.modules():
        module.register_forward_hook(count)
    network.eval()(torch.empty(1, 3, 224, 224, device="meta"))
    assert (found.parameters, round((found.multiply_adds + more) / 1e6)) == expected


def test_the_authors_checkpoint_is_read_by_its_names(tmp_path: Path) -> None:
    """As nas_modules.py names layers: blocks that the search left out keep their numbers."""
    layers = ["first_conv", "feature_mix_layer"]
    for place in (0, 1, 3, 4, 5, 6, 7, 8):
        inside = ("inverted_bottleneck", "depth_conv", "point_linear")
        some = inside if place else inside[1:]
        layers += [f"blocks.{place}.mobile_inverted_conv.{each}" for each in some]
    norm = ("weight", "bias", "running_mean", "running_var")
    names = [f"{layer}.bn.{each}" for layer in layers for each in norm]
    names += [f"{layer}.conv.weight" for layer in layers]
    names += [f"classifier.linear.{each}" for each in ("weight", "bias")]
    shapes = {name: value.shape for name, value in tiny().state_dict().items()}
    theirs = {name: torch.randn(shapes[name]) for name in names}
    torch.save({"epoch": 3, "state_dict": theirs}, tmp_path / "proxyless.pth")
    network = Normalized(tiny(), (0.5,) * 3, (0.2,) * 3)
    start = OfFile(str(tmp_path / "proxyless.pth"))
    begin(network, start.read(tmp_path), start.classifier)
    found = network.get_submodule("body").state_dict()
    left = {name for name in found if not name.endswith("num_batches_tracked")}
    assert left == set(theirs)
    assert all(torch.equal(found[name], value) for name, value in theirs.items())


def test_first_weights_have_the_variance_of_what_a_channel_sends_on() -> None:
    """N(0, 2 / (k k c_out)), of one channel by itself N(0, 2 / (k k)); as the authors' he_fout."""
    network = tiny(widths=[64] * 7, blocks=[[[3, 1]], *[[[5, 4]]] * 6])
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            kernel, single = module.kernel_size[0], bool(re.search("depth_conv", name))
            expected = (2 / (kernel**2 * (1 if single else module.out_channels))) ** 0.5
            spread = 4 * expected / (2 * module.weight.numel()) ** 0.5
            assert abs(module.weight.std().item() - expected) < spread, name
    assert not network.get_parameter("classifier.linear.bias").any()


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"widths": WIDTHS[1:]}, "^widths ... 7 ... 6"),
        ({"widths": [*WIDTHS[1:], 0]}, "^widths.6 ... 1 ... 0"),
        ({"blocks": BLOCKS[1:]}, "^blocks ... 7 ... 6"),
        ({"blocks": [[[]], *BLOCKS[1:]]}, "^blocks.0 ... begin"),
        ({"blocks": [[[3, 1], [4, 3]], *BLOCKS[1:]]}, "^blocks.0 ... odd ... 4"),
        ({"blocks": [[[3, 0]], *BLOCKS[1:]]}, "^blocks.0 ... expansion ... 0"),
    ],
)
def test_a_table_that_makes_no_network_is_refused(changed: dict[str, list], rule: str) -> None:
    with pytest.raises(ValueError, match=says(rule)):
        tiny(**changed)


def test_the_first_block_of_a_stage_has_no_shortcut() -> None:
    """Even where it changes nothing but the values, as between stages of one width."""
    network = tiny(widths=[4] * 7)
    found = [getattr(block, "adds", None) for block in network.blocks]
    assert found == [False, False, None, True, False, False, False, False, False]
