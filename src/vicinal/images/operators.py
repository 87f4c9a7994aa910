"""AugMix's nine operators on batches of 8-bit images, each image at a level of its own.

Each equals Pillow's result bit for bit, hence float64, and truncation where Pillow truncates. At
round levels, which are never drawn, truncation may depend on the last bit of a product and be off
by one step of 255. A level's sign is the operator's direction; operators without one ignore it.
`reach` bounds the levels' size and is known on the host, so that nothing waits for the device.

At 224 pixels time on a CPU goes where memory is read and written, so temporaries are few and small:
bytes stay bytes, values go through tables of 256, and no index is wider than it must be.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Float64, Int64, Integer, UInt8
from torch import Tensor

from vicinal.images.geometry import quantized, rotated, sheared, translated

Pixels = UInt8[Tensor, "n c h w"]
Planes = Integer[Tensor, "m p"]
Levels = Float64[Tensor, " n"]
Amounts = Float64[Tensor, "*n"]
Operator = Callable[[Pixels, Levels, float], Pixels]


def autocontrast(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """Each channel stretched to 0 .. 255; a constant one is unchanged."""
    low, high = _extremes(x.flatten(2))
    lines = _stretches(x.device).index_select(0, high.long().add_(low, alpha=256).flatten())
    scale, offset = lines.view(*low.shape, 2, 1).unbind(2)
    if x.device.type == "cpu":
        ramp = torch.arange(256, dtype=torch.float64)
        tables = quantized((ramp * scale).add_(offset)).flatten(0, 1)
        return _mapped(x.flatten(0, 1).flatten(1), tables).view(x.shape)
    return quantized((x * scale[..., None]).add_(offset[..., None]))


def _extremes(values: UInt8[Tensor, "n c p"]) -> tuple[Tensor, Tensor]:
    """The lowest and the highest value of each channel."""
    if values.device.type == "cpu":  # aminmax is not vectorized there
        return values.amin(dim=2), values.amax(dim=2)
    return torch.aminmax(values, dim=2)


@lru_cache(maxsize=4)
def _stretches(device: torch.device) -> Float64[Tensor, "65536 2"]:
    """The factor and the summand for every pair of lowest and highest value."""
    low, high = torch.arange(256.0, dtype=torch.float64)[:, None], torch.arange(256.0).double()
    # Not 255.0 / span, which torch computes as 255 times the reciprocal.
    scale = torch.where(low == high, 1.0, torch.full((256, 256), 255.0).double() / (high - low))
    offset = torch.where(low == high, 0.0, -low * scale)
    return torch.stack([scale, offset], dim=2).flatten(0, 1).to(device, non_blocking=True)


def equalize(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """Each channel through its cumulative histogram, in Pillow's integer arithmetic."""
    values = x.flatten(0, 1).flatten(1)
    if x.device.type != "cpu":
        values = values.long()  # once, for all that follows
    counts = _histograms(values)
    brightest = counts.gather(1, values.amax(dim=1, keepdim=True).long())
    step = (values.shape[1] - brightest) // 255
    below = counts.cumsum(dim=1).sub_(counts).add_(step // 2)
    lut = quantized((below / step.clamp_min(1).double()).clamp_max_(255))
    lut = torch.where(step == 0, torch.arange(256, device=x.device, dtype=torch.uint8), lut)
    return (_mapped(values, lut) if x.device.type == "cpu" else lut.gather(1, values)).view(x.shape)


def _histograms(values: Planes) -> Int64[Tensor, "m 256"]:
    """How often each value occurs in each plane."""
    if values.device.type == "cpu":
        firsts = torch.arange(0, 256 * len(values), 256, dtype=torch.int32)[:, None]
        places = values.to(torch.int32).add_(firsts).flatten()
        return places.bincount(minlength=256 * len(values)).view(-1, 256)
    counts = torch.zeros((len(values), 256), dtype=torch.int64, device=values.device)
    return counts.scatter_add_(1, values, torch.ones_like(values))  # bincount would wait


def _mapped(values: Planes, tables: UInt8[Tensor, "m 256"]) -> UInt8[Tensor, "m p"]:
    """Each plane through its table, on the CPU: Python's `translate` needs no wide indices."""
    mapped = torch.empty_like(values)
    for to, plane, table in zip(mapped.numpy(), values.numpy(), tables.numpy(), strict=True):
        to.data[:] = bytearray(plane).translate(table.data)
    return mapped


def posterize(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """The highest 4 - int(0.4 v) bits of each value; fewer at higher levels, 4 at the lowest."""
    return x & (256 - lost_bits(levels).exp2()).to(torch.uint8).view(-1, 1, 1, 1)


def solarize(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """Values of at least 256 - int(25.6 v) inverted; the others unchanged.

    That is a byte, since v is at least 0.1.
    """
    first = first_inverted(levels).to(torch.uint8).view(-1, 1, 1, 1)
    # 255 - x is x XOR 255. In place, the comparison makes bytes instead of Booleans, which is much
    # faster on a CPU.
    return x.clone().ge_(first).neg_().bitwise_xor_(x)


def rotate(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """int(3 v) degrees about the centre, counter-clockwise if the level is positive."""
    return rotated(x, degrees(levels), int(reach * 30 / 10))


def shear_x(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """Rows moved by 0.03 v of their distance from the top."""
    return sheared(x, slopes(levels), reach * 0.3 / 10)


def shear_y(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """Columns moved by 0.03 v of their distance from the left."""
    return shear_x(x.mT, levels, reach).mT


def translate_x(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """Moved left by int(v w / 30) pixels."""
    width = x.shape[3]
    return translated(x, pixels_moved(levels, width), int(reach * (width / 3) / 10))


def translate_y(x: Pixels, levels: Levels, reach: float) -> Pixels:
    """Moved up by int(v h / 30) pixels, which are whole rows of the flattened image."""
    height, width = x.shape[2:]
    pixels = pixels_moved(levels, height) * width
    most = int(reach * (height / 3) / 10) * width
    return translated(x.flatten(2)[:, :, None], pixels, most).view(x.shape)


def lost_bits(levels: Amounts) -> Amounts:
    """The number of bits that posterize drops."""
    return 4 + _whole(levels.abs(), 4)


def first_inverted(levels: Amounts) -> Amounts:
    """The lowest value that solarize inverts."""
    return 256 - _whole(levels.abs(), 256)


def degrees(levels: Amounts) -> Amounts:
    """The angle of a rotation, counter-clockwise."""
    return _whole(levels, 30)


def slopes(levels: Amounts) -> Amounts:
    """The slope of a shear, in pixels per pixel."""
    return levels * 0.3 / 10


def pixels_moved(levels: Amounts, side: int) -> Amounts:
    """The shift of a translation along a side of that many pixels."""
    return _whole(levels, side / 3)


def _whole(levels: Amounts, largest: float) -> Amounts:
    """AugMix's int_parameter: truncated, so the same for both signs."""
    return (levels * largest / 10).trunc()


OPERATORS: tuple[Operator, ...] = (
    autocontrast,
    equalize,
    posterize,
    rotate,
    solarize,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)
