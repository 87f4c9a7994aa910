"""BatchNorm with the statistics of the whole batch, over all ranks, as on one process.

The layers of a network stay the same objects, because other surgery refers to them; their class
changes. In eval mode they behave as before.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from vicinal.machine import ranks

Features = Float[Tensor, "n c ..."]
Channels = Float[Tensor, " c"]


def sync_norms(model: nn.Module) -> nn.Module:
    """Synchronise every BatchNorm of the network, in place."""
    for name, module in model.named_modules():
        if type(module) in SYNCED:
            module.__class__ = SYNCED[type(module)]
        elif isinstance(module, _BatchNorm):
            raise ValueError(
                "runtime.sync_batchnorm must be false for this network: "
                f"{type(module).__name__} at {name} is a BatchNorm of another kind"
            )
    return model


class _Synced(_BatchNorm):
    def forward(self, input: Features) -> Features:  # noqa: A002 (torch's name)
        """Normalise; a network narrowed to its first channels passes only these."""
        if not self.training or ranks.world_size() == 1:
            return super().forward(input)
        channels = input.shape[1]
        weight = None if self.weight is None else self.weight[:channels]
        bias = None if self.bias is None else self.bias[:channels]
        y, mean, variance, size = _Normalised.apply(input, weight, bias, self.eps)  # pyright: ignore
        if self.track_running_stats and self.running_mean is not None:
            self._record(mean, variance * size / (size - 1))
        return y

    def _record(self, mean: Channels, variance: Channels) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.mul_(1 - share).add_(mean * share)
        self.running_var.mul_(1 - share).add_(variance * share)


class SyncedBatchNorm1d(_Synced, nn.BatchNorm1d):
    """For feature vectors."""


class SyncedBatchNorm2d(_Synced, nn.BatchNorm2d):
    """For images."""


class SyncedBatchNorm3d(_Synced, nn.BatchNorm3d):
    """For volumes."""


SYNCED: dict[type[nn.Module], type[_Synced]] = {
    nn.BatchNorm1d: SyncedBatchNorm1d,
    nn.BatchNorm2d: SyncedBatchNorm2d,
    nn.BatchNorm3d: SyncedBatchNorm3d,
}


class _Normalised(torch.autograd.Function):
    """y = (x - μ) / √(σ² + ε) · w + b with μ and σ² over all ranks; also μ, σ² and the count.

    The ranks' means and variances are combined as in Chan, Golub and LeVeque, because a mean square
    minus a squared mean loses digits. Every pass over x is one of BatchNorm's own kernels, on CPUs
    and on CUDA: two forward, three backward.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, ...]:
        """Normalise, with one all-gather between the ranks."""
        mean, variance = _moments(x)
        size = mean.new_full((1,), x.numel() / len(mean))
        rows = ranks.all_gather(torch.cat([mean, variance, size]))
        c = len(mean)
        means, variances, sizes = rows[:, :c], rows[:, c:-1], rows[:, -1:]
        total = sizes.sum()
        mean = (means * sizes).sum(0) / total
        variance = ((variances + (means - mean).square()) * sizes).sum(0) / total
        y = _affine(x, weight, bias, (mean, variance, eps))
        ctx.save_for_backward(x, weight, mean, variance, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, total)
        return y, mean, variance, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """One all-reduce; the gradients of w and b are this rank's, to be summed with the rest."""
        x, weight, mean, variance, total = ctx.saved_tensors
        # As if μ and σ² were constants, as in eval mode: also Σ g (x - μ) / √(σ² + ε), and Σ g.
        moved, products, sums = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        means = ranks.all_reduce_(torch.cat([products, sums])) / total
        slope = torch.rsqrt(variance + ctx.eps)
        slope = -slope if weight is None else -slope * weight
        through_means = slope * means.view(2, -1)
        moved += _affine(x, through_means[0], through_means[1], (mean, variance, ctx.eps))
        if weight is None:
            return moved, None, None, None
        return moved, products.to(weight.dtype), sums.to(weight.dtype), None


def _moments(x: Features) -> tuple[Channels, Channels]:
    """Mean and biased variance of each channel, in float32 unless x is wider."""
    wide = torch.promote_types(x.dtype, torch.float32)
    if torch.compiler.is_compiling():  # the kernel below cannot be traced, and this is fused
        dims = [dim for dim in range(x.ndim) if dim != 1]
        variance, mean = torch.var_mean(x.to(wide), dims, correction=0)
        return mean, variance
    unchanged = torch.zeros(2, x.shape[1], dtype=wide, device=x.device)  # sets the type of both
    return torch.batch_norm_update_stats(x, unchanged[0], unchanged[1], 0.0)


def _affine(
    x: Features,
    weight: Channels | None,
    bias: Channels | None,
    normal: tuple[Channels, Channels, float],
) -> Features:
    """(x - μ) / √(σ² + ε) · w + b, where `normal` is μ, σ², ε.

    Not by functional.batch_norm, which surgery that narrows networks overrides.
    """
    mean, variance, eps = normal
    fast = torch.backends.cudnn.enabled
    return torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, fast)
