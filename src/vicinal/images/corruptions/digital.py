"""Digital corruptions: contrast, saturation, elastic deformation, pixelation, JPEG."""

from collections.abc import Callable
from io import BytesIO

import torch
from jaxtyping import Float, Float64, UInt8
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor
from torch.nn import functional as F

from vicinal.draws import Rng
from vicinal.images.corruptions.colours import hsv, rgb
from vicinal.images.corruptions.filters import gaussian_matrix, in_bytes
from vicinal.images.corruptions.severities import Constants

Pixels = UInt8[Tensor, "n 3 h w"]
Images = Float64[Tensor, "n 3 h w"]
Planes = Float64[Tensor, "n h w"]


def contrast(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Each channel drawn towards its mean."""
    (factor,) = constants
    image = x.double().div_(255)
    # The last bit of the mean counts: with a factor of one half, it may happen that half of an
    # image's results are whole values. NumPy adds one pixel after another, as only CPUs do here.
    sums = image.cpu().flatten(2).cumsum(dim=2)[..., -1:, None]
    mean = (sums / (x.shape[2] * x.shape[3])).to(x.device)
    return in_bytes(image.sub_(mean).mul_(factor).add_(mean))


def saturate(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """HSV's saturation is scaled and raised."""
    factor, summand = constants
    hue, saturation, value = hsv(x.double().div_(255))
    return in_bytes(rgb(hue, saturation.mul_(factor).add_(summand).clamp_(0, 1), value))


def pixelate(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Shrunk to a share of its sides and enlarged again, by Pillow."""
    (share,) = constants
    height, width = x.shape[2:]
    small = int(width * share), int(height * share)

    def coarse(image: Image.Image) -> Image.Image:
        shrunk = image.resize(small, Resampling.BOX)
        return shrunk.resize((width, height), Resampling.BOX)

    return _by_pillow(x, coarse)


def jpeg_compression(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Written and read by Pillow at a quality."""
    quality = int(constants[0])

    def compressed(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file, formats=["JPEG"])

    return _by_pillow(x, compressed)


def _by_pillow(x: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    """One image after another."""
    result = torch.empty(x.shape[0], *x.shape[2:], 3, dtype=torch.uint8)
    arrays, targets = x.permute(0, 2, 3, 1).contiguous().cpu().numpy(), result.numpy()
    for array, target in zip(arrays, targets, strict=True):
        target[:] = change(Image.fromarray(array))
    return result.to(x.device).permute(0, 3, 1, 2).contiguous()


def elastic_transform(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """A random affine map, then random smooth displacements."""
    count, _, height, width = x.shape
    corners = torch.rand((count, 3, 2), generator=rng.cpu, dtype=torch.float64).mul_(2).sub_(1)
    fields = torch.rand((count, 2, height, width), generator=rng.device, device=x.device)
    return deformed(x, corners, fields.mul_(2).sub_(1), constants)


def deformed(
    x: Pixels,
    corners: Float64[Tensor, "n 3 2"],
    fields: Float[Tensor, "n 2 h w"],
    constants: Constants,
) -> Pixels:
    """With these moves of three points and these fields, all uniform in [-1, 1]."""
    height, width = x.shape[2:]
    size, smoothing, affine = (share * min(height, width) for share in constants)
    image = _warped(x.float().div_(255).double(), corners * affine).float()
    down, across = (gaussian_matrix(side, smoothing, x.device) for side in (height, width))
    right, below = (down @ fields.double() @ across.T).mul_(size).unbind(1)
    rows, columns = (torch.arange(side, device=x.device) for side in (height, width))
    moved = _sampled(image.double(), right + columns, below + rows[:, None], mirror_edges=True)
    return in_bytes(moved.float())


def _warped(image: Images, moves: Float64[Tensor, "n 3 2"]) -> Images:
    """The affine map that moves three points around the middle of the image."""
    height, width = image.shape[2:]
    # The original takes (height, width) for a point (x, y); at equal sides it does not matter.
    centre, reach = torch.tensor([height // 2, width // 2]).double(), min(height, width) // 3
    points = centre + reach * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).double()
    moved = torch.cat([points + moves, torch.ones(len(moves), 3, 1).double()], dim=2)
    matrix = torch.linalg.solve(moved, points.expand_as(moves)).to(image.device)
    rows, columns = (torch.arange(side, device=image.device) for side in (height, width))
    x, y, one = (part[:, :, None, None] for part in matrix.unbind(1))
    places = x * columns + y * rows[:, None] + one
    return _sampled(image, *places.unbind(1), mirror_edges=False)


def _sampled(image: Images, x: Planes, y: Planes, mirror_edges: bool) -> Images:
    """Bilinear, at places in pixels; outside, the image is mirrored, edge pixels too or not."""
    places = [x, y]
    for axis, size in enumerate((image.shape[3], image.shape[2])):
        shift, length = (0.5, size) if mirror_edges else (0.0, size - 1)
        places[axis] = (places[axis] + shift) * (2 / length) - 1
    grid = torch.stack(places, dim=3)
    return F.grid_sample(image, grid, padding_mode="reflection", align_corners=not mirror_edges)
