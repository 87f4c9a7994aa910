"""The order in which an epoch's batches visit the samples."""

import torch

from vicinal.data.batches import Batches
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.vicinities.identity import Identity


def test_every_sample_comes_once_per_epoch_in_an_order_set_by_seed_and_epoch() -> None:
    numbered = Split(torch.arange(50.0).view(50, 1), torch.arange(50) % 3)
    batches = Batches(numbered, 3, 16, Identity(), seed=4)
    orders = [torch.cat([x for x, *_ in batches.epoch(e, 0, Rng.seeded(0))]) for e in (0, 1)]
    assert all(torch.equal(order.sort(0).values.flatten(), torch.arange(50.0)) for order in orders)
    assert not torch.equal(*orders)
    rest = torch.cat([x for x, *_ in batches.epoch(1, 2, Rng.seeded(0))])
    assert torch.equal(rest, orders[1][32:])
