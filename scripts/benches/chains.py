"""Time AugMix images, ours in batches against Pillow one by one, on one core; checks them equal.

Both start from the same draws and end in float tensors: three chains per image, mixed with it. They
take turns. Each figure is the median over rounds, in this process's CPU seconds, so that others on
the machine matter less. At the largest size also each operator by itself, on as many images as a
step of the chains has for it. Writes chains.json.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from PIL.Image import Resampling, Transform
from torch import Tensor

from benches.writing import write
from vicinal.draws import Rng, beta, dirichlet
from vicinal.images.chains import CACHED, Plan, mixture, rendered
from vicinal.images.operators import OPERATORS, Operator
from vicinal.machine.runtime import keep_freed_memory
from vicinal.storage.provenance import provenance

Pixels = UInt8[Tensor, "n c h w"]
Images = Float[Tensor, "n c h w"]
BATCHES = {32: 128, 224: 32}
REPEATS = 10  # of an operator in one turn


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("--sizes", nargs="*", type=int, default=[32, 224], help="pixels per side")
    parser.add_argument("--batch", type=int, help="images; default: 128, and 32 at 224 pixels")
    parser.add_argument("--rounds", type=int, default=9)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    torch.set_num_threads(1)
    keep_freed_memory()
    origin = provenance("cpu")
    print(f"{origin['device']['name']}, one core; AugMix images per second")
    print(f"{'pixels':>6} {'batch':>6} {'ours':>10} {'Pillow':>10} {'ratio':>7}")
    rows = {}
    for size in arguments.sizes:
        count = arguments.batch or BATCHES.get(size, 128)
        rows[str(size)] = row = compared(size, count, arguments.rounds)
        ours, theirs = row["ours"], row["pillow"]
        print(f"{size:6} {count:6} {ours:10.0f} {theirs:10.0f} {row['ratio']:7.2f}")
    size = max(arguments.sizes)
    alone = {each.__name__: by_itself(each, size, arguments.rounds) for each in OPERATORS}
    print(f"{'at ' + str(size):14} {'ours':>9} {'Pillow':>10} {'ratio':>7}, in µs per image")
    for name, row in alone.items():
        print(f"{name:14} {row['ours']:9.0f} {row['pillow']:10.0f} {row['ratio']:7.2f}")
    found = {"images_per_second": rows, f"microseconds_at_{size}": alone}
    write(arguments.out, "chains", origin | found | {"rounds": arguments.rounds})


def compared(size: int, count: int, rounds: int) -> dict[str, Any]:
    """Images per second of both, and the median ratio within a round; the first is dropped."""
    pixels, rng = scenes(size, count), Rng.seeded(0)
    plan = Plan.drawn(count, 3, None, 3.0, rng)
    m, w = beta(1.0, count, rng).float(), dirichlet(count, 3, rng).float()
    x = pixels.float() / 255
    difference = in_batches(x, plan, m, w) - one_by_one(pixels, x, plan, m, w)
    if difference.abs().max() > 1e-5:
        raise RuntimeError(f"ours and Pillow's differ by {difference.abs().max().item()}")
    ours, theirs, ratio = in_turns(
        lambda: in_batches(x, plan, m, w), lambda: one_by_one(pixels, x, plan, m, w), rounds
    )
    return {"batch": count, "ours": count / ours, "pillow": count / theirs, "ratio": ratio}


def by_itself(operator: Operator, size: int, rounds: int) -> dict[str, float]:
    """Microseconds per image of one operator in both ways, and the median ratio."""
    count = max(1, CACHED // (3 * size**2) // len(OPERATORS))
    pixels, theirs = scenes(size, count), PILLOW[operator.__name__]
    levels = Plan.drawn(count, 1, 1, 3.0, Rng.seeded(0)).levels.flatten()
    images = [Image.fromarray(image) for image in pixels.permute(0, 2, 3, 1).contiguous().numpy()]
    pairs = list(zip(images, levels.tolist(), strict=True))
    ours, pillow, ratio = in_turns(
        lambda: [operator(pixels, levels, 3.0) for _ in range(REPEATS)],
        lambda: [theirs(*pair) for _ in range(REPEATS) for pair in pairs],
        rounds,
    )
    scale = 1e6 / count / REPEATS
    return {"ours": ours * scale, "pillow": pillow * scale, "ratio": ratio}


def in_turns(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Median CPU seconds of both, and the median ratio within a round; the first is dropped."""
    seconds: list[list[float]] = []
    for _ in range(rounds + 1):
        began = process_time()
        ours()
        halfway = process_time()
        theirs()
        seconds.append([halfway - began, process_time() - halfway])
    first, second = zip(*seconds[1:], strict=True)
    return median(first), median(second), median(b / a for a, b in seconds[1:])


def scenes(size: int, count: int) -> Pixels:
    """Smooth colours with some noise: histograms as full as a photograph's."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    noise = 8 * torch.randn(smooth.shape, generator=generator)
    return (smooth + noise).round().clamp(0, 255).to(torch.uint8)


def in_batches(x: Images, plan: Plan, m: Tensor, w: Tensor) -> Images:
    """This suite's way."""
    return mixture(x, rendered(x, plan), m, w)


def one_by_one(pixels: Pixels, x: Images, plan: Plan, m: Tensor, w: Tensor) -> Images:
    """A data loader's way: Pillow, image by image, operator by operator."""
    operators, levels = plan.operators.tolist(), plan.levels.tolist()
    lengths = plan.lengths.tolist()
    mixed = []
    for i, array in enumerate(pixels.permute(0, 2, 3, 1).contiguous().numpy()):
        image, mix = Image.fromarray(array), torch.zeros(x.shape[1:])
        for j in range(w.shape[1]):
            chained = image.copy()
            for step in range(lengths[i][j]):
                operator = PILLOW[OPERATORS[operators[i][j][step]].__name__]
                chained = operator(chained, levels[i][j][step])
            mix += w[i, j] * to_tensor(chained)
        mixed.append((1 - m[i]) * to_tensor(image) + m[i] * mix)
    return torch.stack(mixed)


def to_tensor(image: Image.Image) -> Float[Tensor, "c h w"]:
    """torchvision's ToTensor."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)


def whole(level: float, largest: float) -> int:
    """An integer parameter from a signed level."""
    return int(level * largest / 10)


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    """Bilinear, on the same canvas."""
    return image.transform(image.size, Transform.AFFINE, matrix, Resampling.BILINEAR)


PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "autocontrast": lambda im, v: ImageOps.autocontrast(im),
    "equalize": lambda im, v: ImageOps.equalize(im),
    "posterize": lambda im, v: ImageOps.posterize(im, 4 - whole(abs(v), 4)),
    "rotate": lambda im, v: im.rotate(whole(v, 30), Resampling.BILINEAR),
    "solarize": lambda im, v: ImageOps.solarize(im, 256 - whole(abs(v), 256)),
    "shear_x": lambda im, v: affine(im, 1, v * 0.3 / 10, 0, 0, 1, 0),
    "shear_y": lambda im, v: affine(im, 1, 0, 0, v * 0.3 / 10, 1, 0),
    "translate_x": lambda im, v: affine(im, 1, 0, whole(v, im.width / 3), 0, 1, 0),
    "translate_y": lambda im, v: affine(im, 1, 0, 0, 0, 1, whole(v, im.height / 3)),
}
