"""timm's networks by name, with our stages."""

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import nn
from wording import says

from vicinal.models.normalized import Normalized
from vicinal.models.timm import Timm

PICKED = [
    "resnet50",
    "vit_tiny_patch16_224",
    "convnext_atto",
    "efficientnet_b0",
    "mobilenetv3_small_100",
]


def on_meta(name: str, *args: object, size: int = 224, channels: int = 3) -> Timm:
    with torch.device("meta"):
        return Timm(name, *args, num_classes=7, shape=(channels, size, size))


@pytest.mark.parametrize("size", [224, 64])
@pytest.mark.parametrize("name", PICKED)
def test_stages_fire_once_in_order(name: str, size: int) -> None:
    network = on_meta(name, size=size, channels=1)
    fired = []
    for stage in network.stages:
        network.get_submodule(stage).register_forward_hook(
            lambda module, args, output, stage=stage: fired.append(stage)
        )
    assert network(torch.empty(2, 1, size, size, device="meta")).shape == (2, 7)
    assert tuple(fired) == network.stages


def test_a_resnets_stem_ends_after_its_pool() -> None:
    """PatchUp's Table 3 mixes after the max-pool and after stage 1: both 56 x 56."""
    network = on_meta("resnet50")
    names = ("maxpool", "layer1", "layer2", "layer3", "layer4")
    assert network.stages == tuple(f"network.{name}" for name in names)
    sizes = []
    for stage in network.stages[:2]:
        network.get_submodule(stage).register_forward_hook(
            lambda module, args, output: sizes.append(tuple(output.shape[1:]))
        )
    network(torch.empty(1, 3, 224, 224, device="meta"))
    assert sizes == [(64, 56, 56), (256, 56, 56)]


def test_weights_load_back_to_timm() -> None:
    torch.manual_seed(0)
    body = Timm("test_resnet", num_classes=7, shape=(3, 32, 32))
    network = Normalized(body, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()
    assert isinstance(network.body, Timm)
    plain = timm.create_model("test_resnet", num_classes=7).eval()
    plain.load_state_dict(network.body.network.state_dict())
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain((x - 0.5) / 0.25))


def test_options_reach_timm() -> None:
    network = on_meta("convnext_atto", False, None, {"drop_path_rate": 0.5})
    rates = [getattr(module, "drop_prob", 0.0) for module in network.modules()]
    assert max(rates) == pytest.approx(0.5)


def test_stages_may_be_chosen() -> None:
    assert on_meta("resnet50", False, ("act1", "layer2")).stages == (
        "network.act1",
        "network.layer2",
    )
    with pytest.raises(ValueError, match=says("^stages ... layer9 ... layer1")):
        on_meta("resnet50", False, ("layer9",))


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(ValueError, match=says("name ... resnet5O ... resnet50")):
        on_meta("resnet5O")
    with pytest.raises(ValueError, match=says("^name ... resnet50.a1_in2k ... resnet50.a1_in1k")):
        on_meta("resnet50.a1_in2k")


def test_pretrained_is_refused_without_weights_and_downloads_nothing_on_meta(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without = next(
        name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name)
    )
    with pytest.raises(ValueError, match=says(f"pretrained ... {without}")):
        on_meta(without, True)
    create, asked = timm.create_model, []

    def recorded(name: str, pretrained: bool, **options: object) -> torch.nn.Module:
        asked.append(pretrained)
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", recorded)
    on_meta("resnet18", True)
    assert asked == [False]
    Timm("test_resnet", True, num_classes=7, shape=(3, 32, 32))
    assert asked == [False, True]


def test_options_that_timm_does_not_take_are_one_line() -> None:
    given = {"num_classes": 2, "shape": (3, 32, 32)}
    with pytest.raises(ValueError, match=says("^options ... timm's ... test_resnet ... 'no'")):
        Timm("test_resnet", options={"no": 1}, **given)


def test_weights_that_cannot_be_downloaded_are_named_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(model: nn.Module, *_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("Cannot find the file. Please check your connection.\nBye")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    given = {"num_classes": 7, "shape": (3, 32, 32)}
    parts = "^pretrained ... test_resnet ... Cannot find the file ... HF_HOME ... init.path=FILE"
    with pytest.raises(ValueError, match=says(parts)) as error:
        Timm("test_resnet", True, **given)
    assert "\n" not in str(error.value)
    Timm("test_resnet", False, **given)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_frozen_norms_use_their_statistics_and_are_not_trained(name: str) -> None:
    free, frozen = (
        Timm(name, freeze_norms=freeze, num_classes=3, shape=(3, 32, 32))
        for freeze in (False, True)
    )
    frozen.load_state_dict(free.state_dict(), strict=False)
    norms = [name for name, m in free.named_modules() if isinstance(m, nn.BatchNorm2d)]
    trained = dict(frozen.named_parameters())
    assert norms
    assert not [name for name in trained if name.rpartition(".")[0] in norms]
    x, before = torch.rand(4, 3, 32, 32), dict(frozen.state_dict())
    frozen.network.train()
    torch.manual_seed(0)
    found = frozen(x)
    assert all(torch.equal(value, before[key]) for key, value in frozen.state_dict().items())
    for module in free.modules():
        module.train(not isinstance(module, nn.BatchNorm2d))
    torch.manual_seed(0)
    torch.testing.assert_close(found, free(x))
