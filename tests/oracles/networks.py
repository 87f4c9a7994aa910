"""Forward passes written from the papers' descriptions, on a dictionary of weights.

Nothing of vicinal is used; channels, strides and depths are arguments or read from the weights.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

Weights = dict[str, Tensor]


def conv(x: Tensor, w: Weights, name: str, stride: int = 1, groups: int = 1) -> Tensor:
    kernel = w[f"{name}.weight"]
    return conv2d(x, kernel, w.get(f"{name}.bias"), stride, kernel.shape[-1] // 2, groups=groups)


def batch_norm(x: Tensor, w: Weights, name: str, train: bool, eps: float = 1e-5) -> Tensor:
    if train:
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    else:
        mean = w[f"{name}.running_mean"][:, None, None]
        variance = w[f"{name}.running_var"][:, None, None]
    normal = (x - mean) / (variance + eps) ** 0.5
    return normal * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]


def relu(x: Tensor, leak: float = 0.0) -> Tensor:
    return torch.where(x > 0, x, leak * x)


def classify(x: Tensor, w: Weights) -> Tensor:
    return x.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"]


def pre_activation(
    x: Tensor,
    w: Weights,
    blocks: tuple[int, ...],
    train: bool,
    *,
    stem_norm: bool = False,
    final_norm: bool = True,
    activated: str = "projections",  # where shortcuts start at ReLU(BN(x))
    strided: int = 1,  # which convolution of a block carries the stride
    leak: float = 0.0,
    eps: float = 1e-5,
) -> Tensor:
    x = conv(x, w, "stem.conv")
    if stem_norm:
        x = relu(batch_norm(x, w, "stem.bn", train, eps))
    for stage, num_blocks in enumerate(blocks, start=1):
        for i in range(num_blocks):
            name = f"stage{stage}.{i}"
            stride = 2 if stage > 1 and i == 0 else 1
            strides = (stride, 1) if strided == 1 else (1, stride)
            active = relu(batch_norm(x, w, f"{name}.bn1", train, eps), leak)
            out = conv(active, w, f"{name}.conv1", strides[0])
            out = relu(batch_norm(out, w, f"{name}.bn2", train, eps), leak)
            out = conv(out, w, f"{name}.conv2", strides[1])
            projects = f"{name}.shortcut.weight" in w
            start = {
                "projections": active if projects else x,
                "all": active,
                "none": x,
                "first": active if stage == 1 and i == 0 else x,
            }[activated]
            x = out + (conv(start, w, f"{name}.shortcut", stride) if projects else start)
    if final_norm:
        x = relu(batch_norm(x, w, "bn", train, eps), leak)
    return classify(x, w)


def pool_2x2(x: Tensor) -> Tensor:
    """Means over 2x2 cells, of which the last ones may be cut off by the border."""
    height, width = x.shape[2:]
    rows = [
        torch.stack(
            [x[:, :, i : i + 2, j : j + 2].mean((2, 3)) for j in range(0, width, 2)], dim=-1
        )
        for i in range(0, height, 2)
    ]
    return torch.stack(rows, dim=-2)


def pad_with_zeros(x: Tensor, channels: int) -> Tensor:
    n, c, h, w = x.shape
    return torch.cat([x, torch.zeros(n, channels - c, h, w, dtype=x.dtype)], dim=1)


def post_activation(
    x: Tensor, w: Weights, blocks: tuple[int, ...], train: bool, *, groups: int = 1
) -> Tensor:
    """Basic blocks or, where there is a third convolution, bottlenecks."""
    x = relu(batch_norm(conv(x, w, "stem.conv"), w, "stem.bn", train))
    for stage, num_blocks in enumerate(blocks, start=1):
        for i in range(num_blocks):
            name = f"stage{stage}.{i}"
            stride = 2 if stage > 1 and i == 0 else 1
            bottleneck = f"{name}.conv3.weight" in w
            strides = (1, stride) if bottleneck else (stride, 1)
            out = conv(x, w, f"{name}.conv1", strides[0])
            out = relu(batch_norm(out, w, f"{name}.bn1", train))
            out = conv(out, w, f"{name}.conv2", strides[1], groups)
            out = batch_norm(out, w, f"{name}.bn2", train)
            if bottleneck:
                out = conv(relu(out), w, f"{name}.conv3")
                out = batch_norm(out, w, f"{name}.bn3", train)
            if f"{name}.shortcut.conv.weight" in w:
                skip = conv(x, w, f"{name}.shortcut.conv", stride)
                skip = batch_norm(skip, w, f"{name}.shortcut.bn", train)
            else:
                skip = pad_with_zeros(pool_2x2(x) if stride == 2 else x, out.shape[1])
            x = relu(out + skip)
    return classify(x, w)


def densely_connected(x: Tensor, w: Weights, layers: int, train: bool) -> Tensor:
    x = conv(x, w, "stem.conv")
    for stage in (1, 2, 3):
        features = [x]
        for i in range(layers):
            name = f"stage{stage}.{i}"
            out = relu(batch_norm(torch.cat(features, 1), w, f"{name}.bn1", train))
            out = relu(batch_norm(conv(out, w, f"{name}.conv1"), w, f"{name}.bn2", train))
            features.append(conv(out, w, f"{name}.conv2"))
        x = torch.cat(features, 1)
        if stage < 3:
            x = relu(batch_norm(x, w, f"transition{stage}.bn", train))
            x = pool_2x2(conv(x, w, f"transition{stage}.conv"))
    return classify(relu(batch_norm(x, w, "bn", train)), w)


def pyramidal(x: Tensor, w: Weights, blocks: int, train: bool) -> Tensor:
    x = batch_norm(conv(x, w, "stem.conv"), w, "stem.bn", train)
    for stage in (1, 2, 3):
        for i in range(blocks):
            name = f"stage{stage}.{i}"
            stride = 2 if stage > 1 and i == 0 else 1
            out = conv(batch_norm(x, w, f"{name}.bn1", train), w, f"{name}.conv1")
            out = relu(batch_norm(out, w, f"{name}.bn2", train))
            out = conv(out, w, f"{name}.conv2", stride)
            out = relu(batch_norm(out, w, f"{name}.bn3", train))
            out = batch_norm(conv(out, w, f"{name}.conv3"), w, f"{name}.bn4", train)
            x = out + pad_with_zeros(pool_2x2(x) if stride == 2 else x, out.shape[1])
    return classify(relu(batch_norm(x, w, "bn", train)), w)


def halved(x: Tensor) -> Tensor:
    """The largest of each 2x2 cell; what does not fill a cell is left out."""
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    corners = [x[:, :, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return torch.stack(corners).amax(0)


def linear(x: Tensor, w: Weights, name: str) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def lenet(x: Tensor, w: Weights) -> Tensor:
    """Without its dropout: two convolutions without padding, a hidden layer."""
    for stage in ("stage1", "stage2"):
        kernel, bias = w[f"{stage}.conv.weight"], w[f"{stage}.conv.bias"]
        x = relu(halved(conv2d(x, kernel, bias)))
    return linear(relu(linear(x.flatten(1), w, "hidden.linear")), w, "fc")


def vgg11(x: Tensor, w: Weights, train: bool) -> Tensor:
    """A stage's layers are numbered: convolution, norm, ReLU, and so on."""
    for stage, convolutions in enumerate((1, 1, 2, 2, 2), start=1):
        for i in range(convolutions):
            x = conv(x, w, f"stage{stage}.{3 * i}")
            x = relu(batch_norm(x, w, f"stage{stage}.{3 * i + 1}", train))
        x = halved(x)
    return linear(linear(x.flatten(1), w, "hidden"), w, "fc")


def inverted(
    x: Tensor,
    w: Weights,
    blocks: tuple[tuple[bool, ...], ...],
    strides: tuple[int, ...],
    train: bool,
) -> Tensor:
    """ProxylessNAS: in each stage, which blocks there are; names are those of its checkpoints."""

    def normal(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        return batch_norm(conv(x, w, f"{name}.conv", stride, groups), w, f"{name}.bn", train, 1e-3)

    def relu6(x: Tensor) -> Tensor:
        return torch.where(x > 6, 6.0, relu(x))

    x, place = relu6(normal(x, "first_conv", 2)), -1
    for stride, stage in zip(strides, blocks, strict=True):
        for i, there in enumerate(stage):
            place += 1
            if not there:
                continue
            name = f"blocks.{place}.mobile_inverted_conv"
            out = x
            if f"{name}.inverted_bottleneck.conv.weight" in w:
                out = relu6(normal(out, f"{name}.inverted_bottleneck"))
            out = normal(out, f"{name}.depth_conv", 1 if i else stride, out.shape[1])
            out = normal(relu6(out), f"{name}.point_linear")
            x = x + out if i else out
    x = relu6(normal(x, "feature_mix_layer"))
    return linear(x.mean((2, 3)), w, "classifier.linear")
