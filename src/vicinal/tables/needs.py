"""What each method needs of a network and of the data, found out by a few steps on small networks.

One network has everything that a method may act on; each of the others lacks one thing.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vicinal.cli.configs import CONFIGS, build
from vicinal.contracts import Images, Method, parts, takes
from vicinal.data.dataset import OTHERS, Data
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.methods.consistency import WithNorm
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.tables.markdown import grid
from vicinal.tables.plan import compose_cached

HEAD = (
    *("method", "any network", "named stages", "BatchNorm", "residual blocks", "ViT"),
    *("pixels in [0, 1]", "changes the network", "beyond images and labels"),
)
# In place of networks whose weights would be downloaded.
AT_HAND = {"distillation": ("model@method.teacher=wrn10_2", "method.teacher.width=1")}
CLASSES, SIDE, SAMPLES = 4, 16, 4
STEPS = 4  # so that a method that draws a layer has acted at more than the input


class _Convolutions(nn.Module):
    """Three stages without residual blocks."""

    stages = ("stage1", "stage2", "stage3")

    def __init__(self) -> None:
        super().__init__()
        self.stage1, self.stage2, self.stage3 = _stage(3, 16), _stage(16, 16), _stage(16, 16)
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.fc(self.stage3(self.stage2(self.stage1(x))).mean(dim=(2, 3)))


class _Transformer(nn.Module):
    """A ViT: its features are n x tokens x channels."""

    stages = ("tokens", "block1", "block2")

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.tokens = nn.LayerNorm(16)
        self.block1, self.block2 = (
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(2)
        )
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        tokens = self.tokens(self.patches(x).flatten(2).transpose(1, 2))
        return self.fc(self.block2(self.block1(tokens)).mean(dim=1))


class _Unnamed(nn.Module):
    """A network that does not name its stages."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.body(x)


def _stage(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())


def _normalized(body: nn.Module) -> nn.Module:
    return Normalized(body, (0.5,) * 3, (0.2,) * 3)


def _residual() -> nn.Module:
    return _normalized(WideResNet(10, 1, num_classes=CLASSES, shape=(3, SIDE, SIDE)))


def _without_batchnorm() -> nn.Module:
    model = _residual()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, nn.GroupNorm(1, module.num_features))
    return model


LACKING: dict[str, Callable[[], nn.Module]] = {
    "named stages": lambda: _Unnamed(_residual()),
    "BatchNorm": _without_batchnorm,
    "residual blocks": lambda: _normalized(_Convolutions()),
    "ViT": lambda: _normalized(_Transformer()),
}


class Needs(NamedTuple):
    """Of one method: the networks that it does not train, and what else it needs."""

    fails: tuple[str, ...] = ()  # on networks that lack this, or on a ViT
    pixels: bool = False
    changes: bool = False
    beyond: str = ""
    classifies: bool = True


def needs() -> str:
    """A Markdown table with a line per method of `configs/method`.

    A norm that needs more of the network than the rest of its method has a second line.
    """
    names = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
    lines = []
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        for name in names:
            method = built(name)
            lines.append(_line(f"`{name}`", needs_of(method)))
            if isinstance(method, WithNorm) and method.norm != "bn":
                plain = replace(method, norm="bn")  # pyright: ignore[reportArgumentType]
                lines.append(_line(f"`{name}` with `norm=bn`", needs_of(plain)))
    return grid(HEAD, lines)


def built(name: str) -> Method:
    """The method of a config."""
    config, _ = compose_cached((f"method={name}", *AT_HAND.get(name, ())))
    return build(config.method)


def needs_of(method: Method) -> Needs:
    """What it needs."""
    if (taken := takes(type(method))) in OTHERS:
        return Needs(beyond=OTHERS[taken], classifies=False)
    _train(method, _residual())
    return Needs(
        tuple(lacked for lacked, network in LACKING.items() if not _trains(method, network())),
        any(taken is Images for *_, taken in parts(method, "method")),
        _changes(method),
        ", ".join(_beyond(method)),
    )


def _line(label: str, found: Needs) -> list[str]:
    cells = ["" if not found.classifies or found.fails else "yes"]
    cells += ["yes" if lacked in found.fails else "" for lacked in LACKING if lacked != "ViT"]
    cells.append("" if not found.classifies else "no" if "ViT" in found.fails else "yes")
    cells += ["yes" if found.pixels else "", "yes" if found.changes else "", found.beyond]
    return [label, *cells]


def _beyond(method: Method) -> Iterator[str]:
    if type(method).attach is not Method.attach:
        yield "the data (`attach`)"
    yield from (f"`{want}`" for want in method.wants)


def _trains(method: Method, network: nn.Module) -> bool:
    try:
        _train(method, network)
    except Exception:  # a network may raise anything
        return False
    return True


def _train(method: Method, network: nn.Module) -> None:
    """The forward passes of some steps, and the backward ones of their searches."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SAMPLES, 3, SIDE, SIDE, generator=generator)
    labels = torch.arange(SAMPLES) % CLASSES
    split = Split((255 * x).byte(), labels)
    channels = (0.5,) * 3, (0.2,) * 3
    data = Data(split, split, None, CLASSES, *channels, {}, None, split)
    more: dict[str, Any] = {"rows": torch.arange(SAMPLES), "unlabelled": x, "progress": 0.5}
    wanted = {want: more[want] for want in method.wants}
    attached, model = method.attach(data), method.prepare(network).train()
    for seed in range(STEPS):
        for _ in attached(model, x, torch.eye(CLASSES)[labels], Rng.seeded(seed), **wanted):
            pass


def _changes(method: Method) -> bool:
    """Whether `prepare` adds or replaces modules, weights or buffers."""
    network = _residual()
    before = _structure(network)
    return _structure(method.prepare(network)) != before


def _structure(network: nn.Module) -> list[tuple[str, object]]:
    modules = [(name, type(module)) for name, module in network.named_modules()]
    return [*modules, *((name, tuple(value.shape)) for name, value in network.state_dict().items())]
