"""While GradAug narrows a network, cuDNN is tuned only for the widths that recur."""

from collections.abc import Iterator

import pytest
import torch
from residual_samples import SCALE, batch, network

from vicinal.draws import Rng
from vicinal.methods.gradaug import GradAug, widths
from vicinal.methods.gradaug_semi import GradAugSemi
from vicinal.vicinities.identity import Identity


@pytest.fixture
def tuning() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True  # as on a GPU
    yield
    torch.backends.cudnn.benchmark = before


@pytest.mark.usefixtures("tuning")
@pytest.mark.parametrize("kind", [GradAug, GradAugSemi])
def test_cudnn_is_tuned_only_for_the_widths_that_recur(kind: type) -> None:
    """In forward and backward: of the full network, and of the smallest, but not of those drawn."""
    model, (x, y) = network(), batch()
    more = {"unlabelled": x} if kind is GradAugSemi else {}
    drawn = [0.6 < width < 1 for width in widths(3, 0.6, True, Rng.seeded(0))]
    assert drawn == [True, True, False]
    method = kind(Identity(), SCALE, alpha=0.6)
    model = method.prepare(model)
    tuned: list[tuple[bool, bool]] = []
    forwards: list[bool] = []
    model.register_forward_hook(lambda *_: forwards.append(torch.backends.cudnn.benchmark))
    for _ in method(model, x, y, Rng.seeded(0), **more):
        tuned.append((forwards[-1], torch.backends.cudnn.benchmark))  # here a loop goes backwards
    images = 2 if more else 1
    expected = [True] + [not new for new in drawn for _ in range(images)]
    assert tuned == [(each, each) for each in expected]
    assert torch.backends.cudnn.benchmark


@pytest.mark.usefixtures("tuning")
def test_tuning_is_restored_when_a_narrow_pass_fails_or_the_loop_stops() -> None:
    model, (x, y) = network(), batch()
    terms = GradAug(Identity(), SCALE, alpha=0.6)(model, x, y, Rng.seeded(0))
    next(terms)
    next(terms)
    assert not torch.backends.cudnn.benchmark
    terms.close()
    assert torch.backends.cudnn.benchmark
    terms = GradAug(Identity(), SCALE, alpha=0.6)(model, x, y, Rng.seeded(0))
    next(terms)
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(terms)
    assert torch.backends.cudnn.benchmark
