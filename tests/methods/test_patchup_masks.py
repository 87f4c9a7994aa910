"""Which features PatchUp alters: the share, the channels, the layers, and how often."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import sqrt

import pytest
import torch
from oracles import features as oracle
from oracles.features import Small, batch
from patchup_samples import HARD, SOFT, loss_of, plain
from torch import Tensor

from vicinal.draws import Rng, block_holes, permutation
from vicinal.methods.patchup import PatchUp

# The sheet's table: side of the map, side of the blocks, γ, expected altered fraction.
ALTERED = [
    *[(32, 7, gamma, share) for gamma, share in ((0.5, 0.491), (0.6, 0.555), (0.75, 0.636))],
    *[(56, 7, gamma, share) for gamma, share in ((0.5, 0.445), (0.6, 0.507), (0.75, 0.587))],
    *[(64, 7, gamma, share) for gamma, share in ((0.5, 0.438), (0.6, 0.500), (0.75, 0.579))],
    *[(16, 7, gamma, share) for gamma, share in ((0.5, 0.632), (0.6, 0.697), (0.75, 0.773))],
    *[(16, 5, gamma, share) for gamma, share in ((0.5, 0.532), (0.75, 0.680))],
    *[(8, 7, gamma, share) for gamma, share in ((0.5, 0.989), (0.6, 0.995), (0.75, 0.999))],
    *[(8, 3, gamma, share) for gamma, share in ((0.5, 0.537), (0.75, 0.691))],
]


@pytest.mark.parametrize(("size", "block", "gamma", "share"), ALTERED)
def test_altered_fractions_are_the_sheets(
    size: int, block: int, gamma: float, share: float
) -> None:
    assert oracle.altered_share(gamma, block, size) == pytest.approx(share, abs=6e-4)
    channels = 200_000 // size**2
    holes = block_holes(gamma, block, (1, channels, size, size), Rng.seeded(0))
    by_channel = holes[0].double().mean((1, 2))  # channels are independent, places are not
    error = by_channel.mean() - oracle.altered_share(gamma, block, size)
    assert abs(error) < 3 * by_channel.std() / sqrt(channels)


def altered_at(model: Small, x: Tensor, step: Callable[[], object]) -> tuple[int, Tensor]:
    """The layer whose features a step changed, and where they are not the sample's own.

    Layer -1 where none was.
    """
    seen: dict[int, Tensor] = {}
    places = [model.stem, model.stage1, model.fc]  # each takes the features of one layer
    handles = [
        module.register_forward_pre_hook(lambda _, given, k=k: seen.update({k: given[0]}))
        for k, module in enumerate(places)
    ]
    step()
    for handle in handles:
        handle.remove()
    for k in range(len(places)):
        own = model.head(x, k)
        altered = seen[k].view_as(own) != own
        if altered.any():
            return k, altered
    return -1, torch.zeros_like(x).bool()


def patched_places(layer: int, method: PatchUp, seed: int) -> Tensor:
    """Which entries are not all the sample's own, for each whose partner is another sample."""
    model, (x, y) = Small(), batch(8)
    method = replace(method, layers=[layer])
    found, altered = altered_at(model, x, lambda: list(method(model, x, y, Rng.seeded(seed))))
    assert found == layer
    return altered[altered.flatten(1).any(dim=1)]


def test_one_mask_serves_the_batch_and_each_channel_has_its_own() -> None:
    altered = patched_places(1, SOFT, seed=0)
    assert len(altered) > 4
    assert (altered == altered[0]).all()
    assert not (altered == altered[:, :1]).all()
    rectangle = patched_places(0, SOFT, seed=2)
    assert rectangle.any()
    assert (rectangle == rectangle[:1, :1]).all()


def test_a_mask_of_ones_is_the_identity() -> None:
    for method in (SOFT, HARD):
        untouched = replace(method, gamma=0.0, layers=[1])
        model = Small()
        torch.testing.assert_close(loss_of(untouched, model), 2 * plain(untouched, model))


def test_hard_with_a_mask_of_zeros_is_a_permutation_of_samples_and_labels() -> None:
    whole = replace(HARD, gamma=1.0, block_size=1)
    for layer in (1, 2):
        model = Small()
        method = replace(whole, layers=[layer])
        torch.testing.assert_close(loss_of(method, model), 2 * plain(method, model))
        assert patched_places(layer, method, seed=0).all()


def layers_drawn(method: PatchUp, steps: int, rng: Rng) -> list[int]:
    """The layer of each step; -1 for a step without PatchUp."""
    model, (x, y) = Small(), batch(8)  # so many that they hardly ever all keep their place
    whole = replace(method, gamma=1.0, block_size=1, input="patches")  # no mask leaves all alone
    return [altered_at(model, x, lambda: list(whole(model, x, y, rng)))[0] for _ in range(steps)]


def test_layers_are_uniform_the_input_included() -> None:
    counts = Counter(layers_drawn(SOFT, 900, Rng.seeded(0)))
    assert set(counts) == {0, 1, 2}
    assert sum((n - 300) ** 2 / 300 for n in counts.values()) < 9.2  # chi², 2 degrees, p = 0.01


def test_patchup_is_applied_with_its_probability() -> None:
    method = replace(HARD, patchup_prob=0.7)
    plainly = layers_drawn(method, 900, Rng.seeded(0)).count(-1)
    assert abs(plainly / 900 - 0.3) < 3 * sqrt(0.3 * 0.7 / 900)


def test_ranks_agree_on_the_layer_and_on_nothing_else() -> None:
    method = replace(HARD, patchup_prob=0.5)
    ranks = [Rng.seeded(0, rank) for rank in (0, 1)]
    layers = [layers_drawn(method, 40, rng) for rng in ranks]
    assert layers[0] == layers[1]
    assert set(layers[0]) == {-1, 0, 1, 2}
    own, other = (permutation(50, rng, torch.device("cpu")) for rng in ranks)
    assert not torch.equal(own, other)
