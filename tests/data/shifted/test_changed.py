from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from vicinal.data.shifted import changed
from vicinal.data.shifted.changed import Changed
from vicinal.data.split import Batch, Part, Rows, Split
from vicinal.draws import Rng


@pytest.fixture(autouse=True)
def blocks_of_four(monkeypatch):
    monkeypatch.setattr(changed, "BLOCK_PIXELS", 4 * 2 * 3)


def noisy(x: Tensor, rng: Rng) -> Tensor:
    noise = torch.randint(100, x.shape, generator=rng.device, device=x.device, dtype=torch.uint8)
    return x + noise + int(torch.randint(100, (), generator=rng.cpu))


def images(count: int = 18) -> Split:
    x = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 2, 3)
    return Split(x.contiguous(), torch.arange(count) % 5)


def split(count: int = 18, seed: int = 0) -> Changed:
    return Changed(images(count), noisy, Rng.seeded(seed))


def read(part: Changed, batches: Sequence[Rows]) -> Tensor:
    """Images in the order of their rows, whatever the order of the batches."""
    x = torch.zeros(len(part), *part.shape, dtype=torch.uint8)
    for images, y, rows in part.batches(batches):
        assert torch.equal(y, part.y[rows])
        x[rows.cpu()] = images.cpu()
    return x


def whole(part: Changed) -> Tensor:
    return read(part, [torch.arange(len(part))])


@pytest.mark.parametrize("size", [1, 3, 4, 5, 8, 17, 18])
def test_an_image_does_not_depend_on_the_size_of_its_batch(size):
    assert torch.equal(read(split(), torch.arange(18).split(size)), whole(split()))


def test_an_image_depends_neither_on_its_row_in_a_batch_nor_on_the_order_of_batches():
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read(split(), order.split(5)), whole(split()))
    assert torch.equal(read(split(), torch.arange(18).split(4)[::-1]), whole(split()))


def test_ranks_that_share_the_batches_see_the_images_of_one_that_reads_all():
    batches = torch.arange(18).split(3)
    shares = [read(split(), batches[rank::2]) for rank in (0, 1)]
    assert torch.equal(shares[0] + shares[1], whole(split()))  # the rows of the other are 0


def test_a_row_may_come_twice():
    ((x, _, rows),) = split().batches([torch.tensor([9, 2, 9])])
    assert rows.tolist() == [9, 2, 9]
    assert torch.equal(x, whole(split())[[9, 2, 9]])


def test_reading_again_draws_the_same():
    part = split()
    assert torch.equal(whole(part), whole(part))
    assert not torch.equal(whole(part), whole(split(seed=1)))


def test_no_two_blocks_share_their_draws():
    noise = whole(split(16)) - images(16).x
    blocks = noise.view(4, 4, 3, 2, 3)
    assert all(not torch.equal(a, b) for k, a in enumerate(blocks) for b in blocks[:k])


def test_what_is_changed_is_the_image_of_the_row():
    same = Changed(images(), lambda x, _: x, Rng.seeded(0))
    assert torch.equal(whole(same), images().x)


def test_some_rows_are_a_split_of_their_own():
    some = split()[torch.tensor([5, 11])]
    assert some.y.tolist() == [0, 1]
    assert torch.equal(whole(some) - images().x[[5, 11]], whole(split(2)) - images(2).x)


def test_it_is_a_part_with_the_labels_and_marks_of_the_unchanged_one():
    marked = Split(images().x, images().y, images().y == 3)
    part = Changed(marked, noisy, Rng.seeded(0))
    assert isinstance(part, Part)
    assert (len(part), part.shape) == (18, (3, 2, 3))
    assert part.y is marked.y
    assert part.redrawn is marked.redrawn


def test_on_the_same_device_the_images_are_the_same():
    assert torch.equal(whole(split().to("cpu")), whole(split()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_another_device_the_draws_are_made_there():
    moved = split().to("cuda")
    assert torch.equal(whole(moved), whole(Changed(images().to("cuda"), noisy, moved.rng)))
    assert {x.device.type for x, _, _ in moved.batches([torch.arange(18)])} == {"cuda"}


def test_each_block_is_read_once_and_all_are_announced_at_once(monkeypatch):
    asked, batches = [], Split.batches

    def noted(self: Split, rows: Sequence[Rows]) -> Iterator[Batch]:
        asked.append([each.tolist() for each in rows])
        return batches(self, rows)

    monkeypatch.setattr(Split, "batches", noted)
    whole(split(10))
    read(split(10), torch.arange(10).split(3))
    assert asked == 2 * [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]]


def test_images_are_changed_in_full_precision_also_for_a_network_in_bf16():
    def mixed(x: Tensor, rng: Rng) -> Tensor:
        weights = torch.rand(x.shape[3], x.shape[3], generator=rng.cpu) / x.shape[3]
        return (x.float() @ weights * 13).to(torch.uint8)

    part = Changed(images(), mixed, Rng.seeded(0))
    expected = whole(part)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(whole(part), expected)
