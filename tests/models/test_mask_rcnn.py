"""Mask R-CNN on a classifier's stages: equal to torchvision's, with the classifier's names."""

from functools import partial

import pytest
import torch
from detection_samples import network, scene
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from wording import says

from vicinal.contracts import Detector
from vicinal.models.init import without_weights
from vicinal.models.mask_rcnn import MaskRcnn
from vicinal.models.mlp import MLP
from vicinal.models.normalized import Normalized
from vicinal.models.resnet import CifarResNet, ResNet
from vicinal.models.timm import Timm

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


class Behind(nn.Module):
    """The trunk and the pyramid as torchvision's detectors take them."""

    def __init__(self, ours: MaskRcnn) -> None:
        super().__init__()
        self.body, self.pyramid, self.out_channels = ours.trunk.body, ours.pyramid, ours.width

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.pyramid({str(i): each for i, each in enumerate(self.body(x))})


def theirs(ours: MaskRcnn) -> MaskRCNN:
    """torchvision's detector of the same weights, which normalises, pads and batches itself."""
    whole = MaskRCNN(Behind(ours), 3, image_mean=list(MEAN), image_std=list(STD))
    whole.transform._skip_resize = True
    whole.rpn, whole.roi_heads = ours.proposals, ours.heads
    whole.train()
    ours.train()
    return whole


def test_losses_equal_those_of_torchvisions_detector() -> None:
    """Of photos of two sizes, each given to it at its own."""
    model, (x, y) = network(), scene()
    x[-1, :, :, -10:] = 0.7  # what pads a photo does not matter
    images = [each[:, :h, :w] for each, (h, w) in zip(x, y.sizes, strict=True)]
    targets = [
        {
            "boxes": y.boxes[i : i + 1],
            "labels": y.labels[i : i + 1] + 1,
            "masks": y.masks[i : i + 1, : y.sizes[i][0], : y.sizes[i][1]],
        }
        for i in range(2)
    ]
    whole = theirs(model)
    torch.manual_seed(3)
    expected = whole(images, targets)
    torch.manual_seed(3)
    found = model(x, y)
    assert found.keys() == expected.keys()
    assert len(found) == 5
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_what_is_found_equals_what_torchvisions_detector_finds() -> None:
    model, (x, y) = network(), scene()
    whole = theirs(model).eval()
    whole.transform.min_size, whole.transform.max_size = (64,), 64
    with torch.no_grad():
        expected, found = whole(list(x[:1])), model.eval()(x, y)
    assert len(found) == 2
    assert len(found[0].boxes) > 0
    assert found[0].labels.max() <= 1
    ours = model.eval()(x[:1])[0]  # without sizes a photo fills the batch
    for each in (found[0], ours):
        torch.testing.assert_close(each.boxes, expected[0]["boxes"], rtol=1e-4, atol=1e-3)
        assert torch.equal(each.labels + 1, expected[0]["labels"])


@pytest.mark.parametrize(
    "make",
    [
        partial(Timm, "test_resnet"),
        partial(Timm, "resnet18"),
        partial(CifarResNet, 20),
        partial(ResNet, 18),
    ],
    ids=["timm_small", "timm_resnet18", "cifar", "resnet18"],
)
def test_the_trunk_gives_what_leaves_the_classifiers_stages(make) -> None:
    classifier = make(num_classes=2, shape=(3, 32, 32)).eval()
    model = MaskRcnn(
        lambda **_: classifier, width=8, hidden=8, num_classes=2, shape=(3, 32, 32)
    ).normalized(MEAN, STD)
    outputs: list[Tensor] = []
    for stage in classifier.stages[-4:]:
        classifier.get_submodule(stage).register_forward_hook(lambda *e: outputs.append(e[2]))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        wrapped = Normalized(classifier, MEAN, STD)
        wrapped(x)
        expected, found = list(outputs), model.eval().trunk(x)
    assert len(found) == 4
    for ours, of in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, of)
    names = {_plain(name) for name in wrapped.state_dict()}
    own = {_plain(name) for name in model.trunk.state_dict()}
    assert own < names
    assert not any("fc" in name for name in own)


def _plain(name: str) -> str:
    for wrapper in ("body.", "network."):
        name = name.removeprefix(wrapper)
    return name


@pytest.mark.parametrize(("frozen", "first"), [(0, "conv1"), (1, "layer2"), (2, "layer3")])
def test_no_norm_is_trained_nor_what_is_frozen(frozen: int, first: str) -> None:
    model = network(frozen_stages=frozen)
    trained = {name for name, value in model.trunk.named_parameters() if value.requires_grad}
    norms = {
        f"{name}.{own}"
        for name, module in model.trunk.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for own, _ in module.named_parameters()
    }
    assert norms
    assert not trained & norms
    assert {name.split(".")[1] for name in trained} == {
        name
        for name, module in model.trunk.body.named_children()
        if name >= first and any(isinstance(each, nn.Conv2d) for each in module.modules())
    }


def test_norms_keep_their_statistics_whatever_the_mode() -> None:
    model, (x, y) = network(), scene()
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    model.eval()
    model.train()
    sum(model(x, y).values()).backward()
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_levels_are_in_float32_even_under_autocast() -> None:
    """Boxes of hundreds of pixels are computed in their precision."""
    model, (x, y) = network(), scene()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        levels = model.levels(x, y.sizes)
    assert {each.dtype for each in levels.values()} == {torch.float32}
    assert list(levels) == ["0", "1", "2", "3", "pool"]


def test_a_batch_of_any_size_is_padded_to_whole_strides() -> None:
    model, (x, _) = network(), scene()
    smaller = x[:, :, :50, :60]
    levels = model.levels(smaller, ((50, 60), (50, 50)))
    assert levels["0"].shape[2:] == (16, 16)
    assert levels["3"].shape[2:] == (2, 2)
    padded = torch.zeros(2, 3, 64, 64)
    padded[:, :, :50, :60] = smaller
    for name, expected in model.levels(padded, ((50, 60), (50, 50))).items():
        torch.testing.assert_close(levels[name], expected)


def test_only_the_stages_are_compiled() -> None:
    model = network()
    model.compile(backend="eager")
    assert model.trunk.body._compiled_call_impl is not None
    assert model._compiled_call_impl is None
    assert model.trunk._compiled_call_impl is None


def test_it_is_built_without_weights_and_its_arithmetic_without_photos() -> None:
    with without_weights():
        model = network()
        assert isinstance(model, Detector)
        model.dense(torch.empty(1, 3, 64, 96))
    assert all(value.is_meta for value in model.parameters())


def test_a_network_without_stages_in_a_row_is_refused_in_one_line() -> None:
    def made(backbone) -> MaskRcnn:
        return MaskRcnn(backbone, num_classes=2, shape=(3, 32, 32))

    with pytest.raises(ValueError, match=says("^backbone must ... 4 stages")):
        made(lambda **kw: MLP(4, 1, **(kw | {"shape": (12,)})))
    with pytest.raises(ValueError, match=says("^frozen_stages must be in 0 .. 4, got 5")):
        network(frozen_stages=5)
    with pytest.raises(ValueError, match=says("^regions must be at least 1")):
        network(regions=0)
