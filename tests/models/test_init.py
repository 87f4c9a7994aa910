"""Networks are built without weights where only their shapes are asked for."""

import subprocess
import sys
from functools import partial

import pytest
import torch

from vicinal.models.init import without_weights
from vicinal.models.preact_resnet import PreActResNet
from vicinal.models.timm import Timm
from vicinal.models.wide_resnet import WideResNet, oliver

BUILDS = {
    "preact_resnet": partial(PreActResNet, 18),
    "wide_resnet": partial(WideResNet, 10, 2),
    "oliver": partial(oliver, 10, 2),
    "timm": partial(Timm, "resnet18"),
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_a_network_without_weights_has_all_their_shapes(build: partial) -> None:
    before = torch.get_rng_state()
    with without_weights():
        bare = build(num_classes=7, shape=(3, 16, 16))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(value.is_meta for value in bare.state_dict().values())
    whole = build(num_classes=7, shape=(3, 16, 16)).state_dict()  # draws again
    assert not torch.equal(torch.get_rng_state(), before)
    assert {key: value.shape for key, value in bare.state_dict().items()} == {
        key: value.shape for key, value in whole.items()
    }


def test_building_one_does_not_import_dynamo() -> None:
    """Drawing from a normal distribution does, on the meta device; it takes two seconds."""
    lines = [
        "import sys",
        "from vicinal.models.init import without_weights",
        "from vicinal.models.wide_resnet import WideResNet",
        "with without_weights():",
        "    WideResNet(10, 2, num_classes=2, shape=(3, 32, 32))",
        "sys.exit('torch._dynamo' in sys.modules)",
    ]
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False).returncode == 0
