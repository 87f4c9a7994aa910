"""AugMix's operators against Pillow, its chains and mixture against their definition."""

import io
import tarfile
from pathlib import Path

import pytest
import torch
from calls import Calls
from oracles import chains as oracle
from torch import Tensor
from torch.nn import functional as F
from wording import says

from vicinal.data.digits import digits
from vicinal.draws import Rng, beta, dirichlet
from vicinal.images import chains as chains_module
from vicinal.images.chains import Plan, mixture, rendered
from vicinal.images.fused import FUSED, SINGLE, Family
from vicinal.vicinities.augmix import AugMix

PHOTOGRAPHS = Path(__file__).parents[3] / "shared/data/tiny-imagenet-25/val.tar.xz"
FORMS = pytest.mark.parametrize("form", [SINGLE, FUSED], ids=["single", "fused"])


def applied(
    name: str, x: Tensor, at: Tensor, reach: float, form: tuple[Family, ...] = SINGLE
) -> Tensor:
    """One operator, of a CPU or as devices have it."""
    for family in form:
        for kind, operator in enumerate(family.members):
            if operator.__name__ == name:
                kinds, size = torch.full((len(x), 1), kind), (x.shape[2], x.shape[3])
                numbers = family.numbers(kinds, at[:, None], size, reach)[:, 0]
                return family.apply(x, numbers, reach)
    raise AssertionError(name)


def drawn(size: int, count: int) -> Tensor:
    """Noise, ramps, constants, smooth fields, dots, low contrast: bytes, every kind in turn."""
    g = torch.Generator().manual_seed(size)
    images = torch.randint(256, (count, 3, size, size), generator=g).to(torch.uint8)
    colours = torch.randint(256, (count, 3, 1, 1), generator=g).to(torch.uint8)
    coarse = torch.randint(256, (count, 3, 4, 4), generator=g).float()
    smooth = F.interpolate(coarse, (size, size), mode="bicubic").round().clamp(0, 255)
    ramp = torch.linspace(0, 1, size).expand(size, size) * colours
    images[1::6] = ramp.to(torch.uint8)[1::6]
    images[2::6] = colours[2::6]
    images[3::6] = smooth.to(torch.uint8)[3::6]
    images[4::6] *= torch.rand(images[4::6].shape, generator=g) < 0.02
    images[5::6] = images[5::6] % 20 + 100
    return images


def written(size: int, count: int) -> Tensor:
    """Handwritten digits, resized."""
    train, _ = digits(Path())
    x = F.interpolate(train.x[:count].float(), (size, size), mode="bilinear")
    return x.round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)


def photographed(size: int, count: int) -> Tensor:
    """Crops of Tiny-ImageNet, enlarged where they are too small."""
    from PIL import Image  # noqa: PLC0415

    if not PHOTOGRAPHS.exists():
        pytest.skip("no Tiny-ImageNet here")
    images = []
    with tarfile.open(PHOTOGRAPHS, "r|xz") as archive:
        for member in archive:
            if member.name.endswith(".JPEG") and (file := archive.extractfile(member)):
                image = Image.open(io.BytesIO(file.read())).convert("RGB")
                image = image.resize((max(size, 64),) * 2)
                left = len(images) % (image.width - size + 1)
                box = (left, 0, left + size, size)
                images.append(oracle.from_pillow(image.crop(box)).clone())
            if len(images) == count:
                break
    return torch.stack(images)


def levels(count: int, severity: float) -> Tensor:
    """Random over the range, as they are drawn, and close to both ends; in both directions."""
    size = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    size[:4] = torch.tensor([0, 0, 1, 1]).double() * (1 - 1e-9) + 1e-10
    direction = torch.tensor([1.0, -1.0]).double().repeat(count)[:count]
    return (0.1 + (severity - 0.1) * size) * direction


@pytest.mark.parametrize(("size", "count"), [(32, 96), (64, 36), (224, 8)])
@pytest.mark.parametrize("source", [drawn, written, photographed])
def test_every_operator_equals_pillows_bit_for_bit(source, size: int, count: int) -> None:
    """On its own, and as devices have it."""
    images = source(size, count)
    for severity in (1.0, 3.0, 9.9):
        at = levels(count, severity)
        for name in oracle.NAMES:
            forms = [applied(name, images.contiguous(), at, severity, f) for f in (SINGLE, FUSED)]
            for i in range(count):
                pillow = oracle.pillow(name, oracle.to_pillow(images[i]), at[i].item())
                expected = oracle.from_pillow(pillow)
                for ours in forms:
                    assert torch.equal(ours[i], expected), (name, at[i], i)


@FORMS
@pytest.mark.parametrize("name", oracle.NAMES)
def test_operators_hold_for_grey_images_too(name: str, form: tuple[Family, ...]) -> None:
    images, at = drawn(32, 24)[:, :1].contiguous(), levels(24, 3.0)
    ours = applied(name, images, at, 3.0, form)
    for i in range(24):
        theirs = oracle.pillow(name, oracle.to_pillow(images[i]), at[i].item())
        assert torch.equal(ours[i], oracle.from_pillow(theirs))


@FORMS
@pytest.mark.parametrize("depth", [None, 1, 4])
@pytest.mark.parametrize("memory", [1, 1 << 16, 1 << 30])
def test_chains_equal_pillows_one_image_at_a_time(
    depth: int | None, memory: int, form: tuple[Family, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains_module, "families", lambda _: form)
    monkeypatch.setattr(chains_module, "CACHED", memory)  # bytes a piece: never the result
    images = drawn(32, 30)
    plan = Plan.drawn(30, 3, depth, 3.0, Rng.seeded(1))
    ours = rendered(images.float() / 255, plan)
    for i in range(30):
        for j in range(3):
            expected = oracle.chain(
                images[i],
                plan.operators[i, j].tolist(),
                plan.levels[i, j].tolist(),
                int(plan.lengths[i, j]),
            )
            assert torch.equal(ours[i, j], expected)


@pytest.mark.parametrize("seed", range(3))
def test_augmix_equals_algorithm_1(seed: int) -> None:
    images, view = drawn(9, 6), AugMix(severity=2.0, width=4)
    x, y = images.double() / 255, torch.eye(6, dtype=torch.float64)
    ours, targets = view(x, y, Rng.seeded(seed))
    rng = Rng.seeded(seed)
    chains = rendered(x, Plan.drawn(6, 4, None, 2.0, rng))
    w, m = dirichlet(6, 4, rng), beta(1.0, 6, rng)
    for i in range(6):
        expected = oracle.mixture(x[i], list(chains[i]), m[i].item(), w[i].tolist())
        torch.testing.assert_close(ours[i], expected, rtol=1e-12, atol=1e-12)
    assert targets is y
    assert torch.equal(x, images.double() / 255)


@FORMS
@pytest.mark.parametrize("name", oracle.NAMES)
def test_round_levels_are_within_one_step_of_pillows(name: str, form: tuple[Family, ...]) -> None:
    """Where a product is a whole number but for its last bit, truncation may fall either way."""
    images = drawn(32, 58)
    at = torch.linspace(0.11, 2.96, 58, dtype=torch.float64)
    ours = applied(name, images, at, 3.0, form)
    for i in range(58):
        theirs = oracle.pillow(name, oracle.to_pillow(images[i]), at[i].item())
        difference = ours[i].int() - oracle.from_pillow(theirs).int()
        assert difference.abs().max() <= 1


def test_images_off_the_grid_of_bytes_are_rounded_to_it() -> None:
    x = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    plan = Plan.drawn(5, 2, None, 3.0, Rng.seeded(0))
    grid = (x * 255).round().clamp(0, 255) / 255
    assert torch.equal(rendered(x, plan), rendered(grid, plan))


def test_layout_and_precision_do_not_matter() -> None:
    x, plan = drawn(16, 12).float() / 255, Plan.drawn(12, 3, None, 3.0, Rng.seeded(0))
    expected = rendered(x, plan)
    assert torch.equal(rendered(x.to(memory_format=torch.channels_last), plan), expected)
    assert torch.equal(rendered((x * 255).round().double() / 255, plan), expected)


def test_images_may_be_higher_than_wide() -> None:
    """Each axis of a translation has its own side, and a rotation its own centre."""
    x, plan = drawn(32, 12)[..., :20].float() / 255, Plan.drawn(12, 3, None, 3.0, Rng.seeded(0))
    found = []
    for form in (SINGLE, FUSED):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chains_module, "families", lambda _, form=form: form)
            found.append(rendered(x, plan))
    assert torch.equal(*found)


def test_fused_a_rendering_is_half_the_calls_however_many_images() -> None:
    counts = {}
    for form in (SINGLE, FUSED):
        for images in (20, 60):
            x, plan = drawn(8, images) / 255, Plan.drawn(images, 3, None, 3.0, Rng.seeded(0))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(chains_module, "families", lambda _, form=form: form)
                rendered(x, plan)  # fills its tables
                with Calls() as calls:
                    rendered(x, plan)
            counts[len(form), images] = calls.count
    assert counts[4, 20] == counts[4, 60] < 0.6 * counts[9, 20]


def test_plans_side_by_side_are_rendered_as_each_by_itself() -> None:
    x, rng = drawn(16, 12).float() / 255, Rng.seeded(0)
    plans = [Plan.drawn(12, width, None, 3.0, rng) for width in (3, 2)]
    together = rendered(x, plans[0].beside(plans[1]))
    assert torch.equal(together, torch.cat([rendered(x, plan) for plan in plans], dim=1))


def test_redrawing_keeps_all_but_the_levels() -> None:
    plan, rng = Plan.drawn(50, 3, None, 3.0, Rng.seeded(0)), Rng.seeded(1)
    again = plan.redrawn(rng)
    assert torch.equal(again.operators, plan.operators)
    assert torch.equal(again.lengths, plan.lengths)
    assert (again.levels != plan.levels).all()


@pytest.mark.parametrize("severity", [1.0, 3.0])
def test_draws_have_the_distributions_of_the_code(severity: float) -> None:
    plan = Plan.drawn(4000, 3, None, severity, Rng.seeded(0))
    for counts in (plan.operators.flatten().bincount(), plan.lengths.flatten().bincount()[1:]):
        share = counts / counts.sum()
        assert (share - 1 / len(counts)).abs().max() < 5 * (0.25 / counts.sum()) ** 0.5
    size = plan.levels.abs()
    assert 0.1 <= size.min() < 0.102
    assert severity - 0.002 < size.max() <= severity
    assert abs(size.mean() - (0.1 + severity) / 2) < 5 * severity / 12**0.5 / 36000**0.5
    assert abs((plan.levels > 0).double().mean() - 0.5) < 5 * 0.5 / 36000**0.5
    assert (Plan.drawn(9, 2, 5, 1.0, Rng.seeded(0)).lengths == 5).all()


@pytest.mark.parametrize(
    ("severity", "bits", "degrees", "threshold", "pixels"),
    [(3.0, {3, 4}, 8, 180, {32: 3, 64: 6, 224: 22}), (1.0, {4}, 2, 231, {224: 7})],
)
def test_ranges_are_those_of_the_sheet(
    severity: float, bits: set[int], degrees: int, threshold: int, pixels: dict[int, int]
) -> None:
    at = Plan.drawn(900, 1, 1, severity, Rng.seeded(0)).levels.flatten()
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(900, 1, 16, 16)
    kept = {len(image.unique()).bit_length() - 1 for image in applied("posterize", ramp, at, 0)}
    assert kept == bits
    inverted = applied("solarize", ramp, at, 0) != ramp
    assert inverted.flatten(1).int().argmax(dim=1).min() == threshold
    turned = (at.abs() * 30 / 10).trunc().unique().tolist()
    assert turned == list(range(degrees + 1))
    for side, most in pixels.items():
        line = torch.arange(side).to(torch.uint8).view(1, 1, 1, side).expand(900, 1, 1, side)
        moved = applied("translate_x", line, at, severity)[:, 0, 0, side // 2].int() - side // 2
        assert moved.unique().tolist() == list(range(-most, most + 1))


def test_posterize_keeps_three_bits_one_time_in_six() -> None:
    at = Plan.drawn(9000, 1, 1, 3.0, Rng.seeded(0)).levels.abs()
    assert abs((at >= 2.5).double().mean() - 0.5 / 2.9) < 5 * (0.17 * 0.83 / 9000) ** 0.5


def test_weights_are_uniform_on_the_simplex() -> None:
    w = dirichlet(20_000, 3, Rng.seeded(0))
    torch.testing.assert_close(w.sum(dim=1), torch.ones(20_000, dtype=torch.float64))
    assert (w.mean(dim=0) - 1 / 3).abs().max() < 0.01
    assert (w.var(dim=0) - 1 / 18).abs().max() < 0.003  # Beta(1, 2)


def test_the_mixture_is_affine_so_that_normalising_commutes() -> None:
    x, chains = drawn(8, 5).double() / 255, drawn(8, 15).view(5, 3, 3, 8, 8)
    m, w = torch.rand(5).double(), torch.rand(5, 3).double().softmax(dim=1)
    normalised = (chains.double() / 255 - 0.4) / 0.2
    later = (mixture(x, chains, m, w) - 0.4) / 0.2
    a = m.view(-1, 1, 1, 1)
    first = (1 - a) * (x - 0.4) / 0.2 + a * (w[..., None, None, None] * normalised).sum(dim=1)
    torch.testing.assert_close(first, later)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"severity": 0.0}, "^severity ... 0.1 ... 10 ... 0.0"),
        ({"width": 0}, "^width ... 1 ... 0"),
        ({"depth": 0}, "^depth ... 1 ... 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        AugMix(**settings)
