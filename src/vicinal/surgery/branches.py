"""The places inside residual blocks, found by structure in our networks and in timm's ResNets."""

from dataclasses import dataclass

from torch import nn

from vicinal.surgery.taps import layer_names


@dataclass(frozen=True)
class Block:
    """The names of a block's modules: what a place of it can be tapped by."""

    inner: tuple[str, ...]  # the convolutions after the first; their input is an activation
    end: str  # the branch's last convolution or norm
    shortcut: str


def add_shortcuts(model: nn.Module) -> nn.Module:
    """Give timm's blocks a module at identity shortcuts, where they have none."""
    for module in list(model.modules()):
        if _is_block(module) and getattr(module, _shortcut(module)) is None:
            setattr(module, _shortcut(module), nn.Identity())
    return model


def residual_groups(model: nn.Module) -> list[list[Block]]:
    """The residual blocks of each stage that has some, in the order of the network."""
    groups = []
    for stage in layer_names(model)[1:]:
        inside = model.get_submodule(stage).named_modules(prefix=stage)
        if blocks := [_block(name, module) for name, module in inside if _is_block(module)]:
            groups.append(blocks)
    return groups


def _is_block(module: nn.Module) -> bool:
    # timm's pre-activation blocks have no bn1; their `downsample` does not get the block's input.
    convolutions = (getattr(module, name, None) for name in ("conv1", "conv2"))
    ours = isinstance(getattr(module, "shortcut", None), nn.Module)
    timms = hasattr(module, "downsample") and hasattr(module, "bn1")
    return all(isinstance(each, nn.Conv2d) for each in convolutions) and (ours or timms)


def _shortcut(block: nn.Module) -> str:
    return "shortcut" if hasattr(block, "shortcut") else "downsample"


def _block(name: str, block: nn.Module) -> Block:
    children = dict(block.named_children())
    convolutions = [child for child in children if isinstance(children[child], nn.Conv2d)]
    inner = [child for child in convolutions if child.startswith("conv")][1:]
    ends = [child for child in children if child.startswith(("conv", "bn"))]
    return Block(
        inner=tuple(f"{name}.{child}" for child in inner),
        end=f"{name}.{ends[-1]}",
        shortcut=f"{name}.{_shortcut(block)}",
    )
