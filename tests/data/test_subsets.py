import pytest
import torch
from wording import says

from vicinal.data.split import Split
from vicinal.data.subsets import held_out, noisy_labels, stratified
from vicinal.errors import RunError


def numbered(counts: list[int]) -> Split:
    """As many samples of each class, each carrying its own number, in a shuffled order."""
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    return Split(torch.arange(len(y))[:, None].float(), y)


def members(split: Split) -> set[float]:
    return set(split.x.flatten().tolist())


def test_the_hold_out_is_balanced_disjoint_and_complete():
    whole = numbered([50, 60, 70])
    train, valid = held_out(whole, holdout=20, cap=None, seed=0)
    assert valid is not None
    assert valid.y.bincount().tolist() == [20, 20, 20]
    assert train.y.bincount().tolist() == [30, 40, 50]
    assert members(train) | members(valid) == members(whole)
    assert not members(train) & members(valid)


def test_the_hold_out_depends_on_its_seed_alone():
    whole = numbered([50, 60, 70])
    first, again, other = (held_out(whole, 20, None, seed)[1] for seed in (0, 0, 1))
    assert first is not None
    assert again is not None
    assert other is not None
    assert members(first) == members(again)
    assert members(first) != members(other)


def test_the_hold_out_comes_before_the_cap():
    train, valid = held_out(numbered([50, 60, 70]), holdout=20, cap=35, seed=0)
    assert valid is not None
    assert valid.y.bincount().tolist() == [20, 20, 20]
    assert train.y.bincount().tolist() == [30, 35, 35]


def test_smaller_labelled_subsets_lie_in_larger_ones():
    whole = numbered([50, 60, 70])
    small, large = (held_out(whole, 0, cap, seed=0)[0] for cap in (5, 25))
    assert members(small) < members(large)


def test_without_options_nothing_moves():
    whole = numbered([5, 6])
    assert held_out(whole, 0, None, seed=0) == (whole, None)


def test_patchups_svhn_split_has_the_papers_sizes():
    counts = [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659]  # of the digits 0 .. 9
    train, valid = held_out(numbered(counts), holdout=733, cap=7325, seed=0)
    assert valid is not None
    assert (len(train), len(valid)) == (57_158, 7_330)


def test_a_class_too_small_to_hold_out_from_is_named():
    with pytest.raises(RunError, match=says("dataset.holdout_per_class ... 50 ... class 0")):
        held_out(numbered([50, 60]), 50, None, seed=0)


def test_a_stratified_split_is_even_over_the_classes():
    split = numbered([50, 100, 7, 1])
    train, test = stratified(split.y, share=0.2, seed=0)
    assert len(test) == 32  # ceil(158 / 5)
    assert split.y[test].bincount(minlength=4).tolist() == [10, 20, 2, 0]
    assert sorted(torch.cat([train, test]).tolist()) == list(range(158))


def test_no_class_goes_to_the_test_set_whole():
    split = numbered([1, 1, 1, 1, 20])
    train, _ = stratified(split.y, share=0.5, seed=0)
    assert split.y[train].bincount(minlength=5).min() >= 1


@pytest.mark.parametrize("probability", [0.2, 0.5, 0.8])
def test_label_noise_leaves_nine_tenths_of_its_level_wrong(probability):
    clean = numbered([2000] * 10)
    noisy, redrawn = noisy_labels(clean.y, probability, num_classes=10, seed=12345)
    wrong = (noisy != clean.y).double().mean().item()
    assert redrawn.double().mean().item() == pytest.approx(probability, abs=0.015)
    assert wrong == pytest.approx(0.9 * probability, abs=0.015)
    assert not (noisy != clean.y)[~redrawn].any()
    drawn = noisy[redrawn].bincount(minlength=10) / redrawn.sum()
    torch.testing.assert_close(drawn, torch.full((10,), 0.1), atol=0.02, rtol=0)


def test_label_noise_is_fixed_by_its_seed():
    clean = numbered([100] * 10)
    first, again, other = (noisy_labels(clean.y, 0.5, 10, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_full_label_noise_redraws_every_label():
    _, redrawn = noisy_labels(numbered([100] * 3).y, 1.0, 3, seed=0)
    assert redrawn.all()
