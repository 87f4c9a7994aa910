"""AugMix's chains: what is drawn, and that it is rendered as Pillow would, one image at a time."""

import pytest
import torch
from calls import Calls
from chain_samples import FORMS, drawn
from oracles import chains as oracle

from vicinal.draws import Rng
from vicinal.images import chains as chains_module
from vicinal.images.chains import Plan, mixture, rendered
from vicinal.images.fused import FUSED, SINGLE, Family


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


def test_images_may_be_taller_than_wide() -> None:
    """Each axis of a translation has its own side, and a rotation its own centre."""
    x, plan = drawn(32, 12)[..., :20].float() / 255, Plan.drawn(12, 3, None, 3.0, Rng.seeded(0))
    found = []
    for form in (SINGLE, FUSED):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chains_module, "families", lambda _, form=form: form)
            found.append(rendered(x, plan))
    assert torch.equal(*found)


def test_fused_rendering_takes_half_the_calls_for_any_number_of_images() -> None:
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


def test_posterize_keeps_three_bits_one_time_in_six() -> None:
    at = Plan.drawn(9000, 1, 1, 3.0, Rng.seeded(0)).levels.abs()
    assert abs((at >= 2.5).double().mean() - 0.5 / 2.9) < 5 * (0.17 * 0.83 / 9000) ** 0.5


def test_the_mixture_is_affine_so_that_normalising_commutes() -> None:
    x, chains = drawn(8, 5).double() / 255, drawn(8, 15).view(5, 3, 3, 8, 8)
    m, w = torch.rand(5).double(), torch.rand(5, 3).double().softmax(dim=1)
    normalised = (chains.double() / 255 - 0.4) / 0.2
    later = (mixture(x, chains, m, w) - 0.4) / 0.2
    a = m.view(-1, 1, 1, 1)
    first = (1 - a) * (x - 0.4) / 0.2 + a * (w[..., None, None, None] * normalised).sum(dim=1)
    torch.testing.assert_close(first, later)
