"""Accuracy, likelihood and calibration on one split of the data."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Logits
from vicinal.data.batches import as_inputs
from vicinal.data.split import Part
from vicinal.evaluation.batches import device_of, rank_rows
from vicinal.machine import ranks
from vicinal.surgery.modes import evaluating


@dataclass(frozen=True)
class Clean:
    """Top-1 and top-5 in percent, mean cross-entropy in nats, calibration error in percent.

    Every sample counts once, and the network is left as it was. The caller chooses the precision of
    the network (autocast around the call); metrics are computed from the logits in float64.
    A sample whose logits hold NaN counts as wrong, and `nll` and `ece` become NaN.
    """

    batch_size: int = 1000
    bins: int = 15  # M in Guo et al. 2017, and its value in their experiments

    def __post_init__(self) -> None:
        for name in ("batch_size", "bins"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def __call__(self, model: nn.Module, split: Part) -> dict[str, float]:
        """Measure `model` on every sample of `split`; waits for the device once, at the end.

        Each rank measures its shard; all ranks must call this, and get the same numbers.
        """
        assert len(split) > 0
        device = device_of(model, split.y)
        found = torch.zeros(len(split), 4, dtype=torch.float64, device=device)
        classes = 0
        with evaluating(model), torch.no_grad():
            for x, y, rows in split.batches(rank_rows(torch.arange(len(split)), self.batch_size)):
                logits = model(as_inputs(x.to(device, non_blocking=True)))
                found[rows.to(device)] = _per_sample(logits, y.to(device, non_blocking=True))
                classes = logits.shape[1]
        classes = max(ranks.all_gather_object(classes))
        rank, nll, confidence, hit = ranks.all_reduce_(found).T.contiguous()
        error = calibration_error(confidence, hit.bool(), self.bins)
        means = [100 * hit.mean(), 100 * (rank < 5).double().mean(), nll.mean(), 100 * error]
        top1, top5, mean_nll, ece = torch.stack(means).tolist()
        measured = {"top1": top1, "nll": mean_nll, "ece": ece}
        return measured | {"top5": top5} if classes > 5 else measured


def calibration_error(
    confidence: Float64[Tensor, " n"], hit: Bool[Tensor, " n"], bins: int
) -> Float64[Tensor, ""]:
    """ECE = Σ_m |B_m|/n · |acc(B_m) - conf(B_m)| over `bins` intervals of equal width.

    Paper: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
        arXiv 1706.04599; Eq. 3, bins ((m-1)/M, m/M] from §2
    """
    m = torch.arange(bins, device=confidence.device)
    member = torch.bucketize(confidence, m[1:].double() / bins)[:, None] == m
    # |B_m|·(acc - conf) is the sum of (hit - confidence) over the bin, with no division by |B_m|
    gaps = torch.where(member, (hit.double() - confidence)[:, None], 0.0).sum(0)
    return gaps.abs().sum() / len(confidence)


def _per_sample(logits: Logits, y: Int64[Tensor, " n"]) -> Float64[Tensor, "n 4"]:
    """The rank of the true class, its negative log-likelihood, the confidence, and the hit."""
    log_probs = F.log_softmax(logits.double(), dim=1)
    rank = rank_of_true(logits, y)
    nll = F.nll_loss(log_probs, y, reduction="none")
    columns = (rank.double(), nll, log_probs.amax(1).exp(), (rank == 0).double())
    return torch.stack(columns, dim=1)


def rank_of_true(logits: Logits, y: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """How many classes come before the true one; of equal logits the lower index comes first.

    Counted instead of taken from topk, whose order among ties differs between devices. Written as
    "not at most", so that NaN, for which every comparison is false, ranks before the true class.
    """
    true = logits.gather(1, y[:, None])
    lower_index = torch.arange(logits.shape[1], device=y.device) < y[:, None]
    return (~(logits <= true) | ((logits == true) & lower_index)).sum(1)
