"""GradAug in a detector: its terms, its sub-networks, its resized objects."""

import pytest
import torch
from detection_samples import network, scene
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Method
from vicinal.draws import Rng
from vicinal.methods.detection_loss import DetectionLoss, total
from vicinal.methods.gradaug_detection import GradAugDetection, rescaled
from vicinal.models.mask_rcnn import MaskRcnn
from vicinal.surgery.slimmable import narrowed, num_channels


def terms(method: Method, model: MaskRcnn, backward: bool = False) -> list[float]:
    """Each with the same sampled regions, which torchvision draws from torch's generator."""
    x, y = scene()
    found = list[float]()
    iterator = method(method.prepare(model), x, y, Rng.seeded(0))
    while True:
        torch.manual_seed(5)
        term = next(iterator, None)
        if term is None:
            return found
        if backward:
            term.backward()
        found.append(term.item())


def test_the_loss_is_the_sum_of_the_detectors() -> None:
    model, (x, y) = network(), scene()
    torch.manual_seed(5)
    expected = sum(each.item() for each in model(x, y).values())
    assert terms(DetectionLoss(), model) == pytest.approx([expected])


def test_at_full_width_and_size_every_term_is_the_detectors_loss() -> None:
    model = network()
    (plain,) = terms(DetectionLoss(), model)
    found = terms(GradAugDetection(num_subnets=2, alpha=1.0, scales=[1]), model)
    assert found == [plain] * 3


def test_there_is_a_term_for_the_detector_and_for_each_sub_network() -> None:
    model = network()
    (plain,) = terms(DetectionLoss(), model)
    found = terms(GradAugDetection(num_subnets=3, alpha=0.5), model)
    assert len(found) == 4
    assert found[0] == plain
    assert len(set(found)) == 4
    assert len(terms(GradAugDetection(num_subnets=0), model)) == 1


def test_only_the_trunk_is_narrowed_and_the_pyramid_takes_what_arrives() -> None:
    """Its first layers equal convolutions of the first channels, written out."""
    model, (x, y) = network(), scene()
    arrived = list[torch.Tensor]()
    model.trunk.body.register_forward_hook(lambda *e: arrived.extend(e[2]))
    inner = list[torch.Tensor]()
    for block in model.pyramid.inner_blocks:
        block.register_forward_hook(lambda *e: inner.append(e[2]))
    with torch.no_grad(), narrowed(model.trunk, 0.5, classifies=False):
        levels = model.levels(x, y.sizes)
    with torch.no_grad():
        whole = [each.shape[1] for each in model.trunk(x)]
    assert [each.shape[1] for each in arrived[:4]] == [num_channels(c, 0.5) for c in whole]
    assert {each.shape[1] for each in levels.values()} == {model.width}
    order = (3, 2, 1, 0)  # from the coarsest
    for place, found in zip(order, inner, strict=True):
        conv = model.pyramid.inner_blocks[place][0]
        kept = arrived[place]
        expected = F.conv2d(kept, conv.weight[:, : kept.shape[1]], conv.bias)
        torch.testing.assert_close(found, expected)


def test_a_narrow_trunk_normalises_by_the_batch_and_no_statistic_changes() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.named_buffers()}
    outputs = list[torch.Tensor]()
    model.trunk.body.bn1.register_forward_hook(lambda *e: outputs.append(e[2].clone()))
    terms(GradAugDetection(num_subnets=2, alpha=0.5, scales=[1]), model, backward=True)
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]), name
    full, *narrow = (each for each in outputs if not each.is_meta)  # of a rehearsal
    assert full.mean((0, 2, 3)).abs().max() > 1e-3  # by the fixed statistics
    bias = model.trunk.body.bn1.bias
    for each in narrow:
        torch.testing.assert_close(
            each.mean((0, 2, 3)), bias[: each.shape[1]].detach(), atol=1e-4, rtol=0
        )
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.any() for p in trained)
    assert [module.training for module in model.trunk.modules()] == [
        module.training for module in network().trunk.modules()
    ]


@pytest.mark.parametrize("scale", [0.5, 0.75, 0.8333])
def test_objects_are_resized_with_their_photos(scale: float) -> None:
    x, y = scene()
    x_i, y_i = rescaled(x, y, scale)
    side = round(64 * scale)
    assert x_i.shape == (2, 3, side, side)
    torch.testing.assert_close(x_i, F.interpolate(x, (side, side), mode="bilinear"))
    torch.testing.assert_close(y_i.boxes, y.boxes * side / 64)
    assert y_i.sizes == ((side, side), (side, round(54 * side / 64)))
    for mask, box in zip(y_i.masks, y_i.boxes, strict=True):
        rows, columns = (mask.any(1 - axis).nonzero().flatten() for axis in (0, 1))
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        torch.testing.assert_close(torch.tensor(edges).float(), box, atol=0.75, rtol=0)
    assert torch.equal(y_i.labels, y.labels)
    same = rescaled(x, y, 1)
    assert same[0] is x
    assert same[1] is y


def test_all_ranks_draw_the_same_widths_and_sizes() -> None:
    """As GradAug's: from the shared generator, and nothing from the ranks' own."""
    for rank in (0, 1):
        rng = Rng.seeded(0, rank)
        before = rng.state()
        x, y = scene()
        for _ in GradAugDetection(num_subnets=1)(network(), x, y, rng):
            pass
        after = rng.state()
        assert torch.equal(after["cpu"], before["cpu"])
        assert torch.equal(after["device"], before["device"])
        assert not torch.equal(after["shared"], before["shared"])


def test_settings_that_no_sub_network_has_are_refused() -> None:
    with pytest.raises(ValueError, match=says("^alpha must be above 0")):
        GradAugDetection(alpha=0)
    with pytest.raises(ValueError, match=says("^scales must be positive")):
        GradAugDetection(scales=[1, 0])
    assert GradAugDetection(num_subnets=2).work == 3


def test_the_sum_is_in_at_least_float32() -> None:
    losses = {"a": torch.tensor(1.0, dtype=torch.bfloat16), "b": torch.tensor(0.001)}
    assert total(losses).dtype == torch.float32
