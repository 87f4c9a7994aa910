"""All-reduce of gradients, overlapped with the backward pass; one process communicates nothing.

Parameters are grouped into buckets, from the network's end to its beginning, in the order of a
backward pass. A bucket is sent once its gradients are complete and the bucket before it was sent,
so that all ranks send the same buckets in the same order. Gradients are complete in the backward of
a method's last term. The number of terms is taken from the step before; if that was wrong, all
buckets are sent again.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from vicinal.machine import ranks
from vicinal.machine.synced_norms import SYNCED

BUCKET = 1 << 22  # numbers per bucket: 16 MB of float32


class GradientExchange:
    """The exchange of one network, whose parameters, layers and buffers must not be replaced.

    A step is `begin`, then `next_term` before each backward, then `finish`.
    """

    def __init__(self, model: nn.Module) -> None:
        trained = (
            [p for p in model.parameters() if p.requires_grad] if ranks.world_size() > 1 else []
        )
        self.buckets = [_Bucket(each) for each in _split(reversed(trained))]
        for bucket in self.buckets:
            for parameter in bucket.parameters:
                parameter.register_post_accumulate_grad_hook(partial(self._gradient_added, bucket))
        self.statistics = [_Statistics(each) for each in _split(running_statistics(model))]
        # Layers that communicate in their backward would do so before or after a bucket, depending
        # on which gradients a rank has: with them, buckets are sent after the backward.
        self.overlaps = not any(type(module) in SYNCED.values() for module in model.modules())
        self.terms, self.expected = 0, -1
        self.sending, self.num_sent = False, 0

    def begin(self) -> None:
        """Call before the first term of a step."""
        self.terms, self.num_sent = 0, 0
        for bucket in self.buckets:
            bucket.missing = len(bucket.parameters)

    def next_term(self) -> None:
        """Call before the backward of a term."""
        self.terms += 1
        self.sending = self.overlaps and self.terms == self.expected

    @torch.no_grad()
    def finish(self, mine: int, whole: int) -> None:
        """Call after the last term of a step, on `mine` of the `whole` samples of all ranks.

        Gradients become their sums over the ranks, BatchNorm's running statistics their means. A
        parameter without a gradient on any rank gets none, as on one process.
        """
        if ranks.world_size() == 1:
            return
        self.sending = False
        too_early = self.overlaps and self.terms > self.expected > 0
        self._send(len(self.buckets))
        if too_early:  # on all ranks, since all have the same number of terms
            for bucket in self.buckets:
                bucket.wait()
            self.num_sent = 0
            self._send(len(self.buckets))
        for statistics in self.statistics:
            statistics.send(ranks.share(mine, whole))
        for sent in (*self.buckets, *self.statistics):
            sent.receive()
        self.expected = self.terms

    def _gradient_added(self, bucket: "_Bucket", _parameter: Tensor) -> None:
        """Autograd calls this after it has added to a parameter's gradient."""
        if not self.sending:
            return
        bucket.missing -= 1
        complete = self.num_sent
        while complete < len(self.buckets) and not self.buckets[complete].missing:
            complete += 1
        self._send(complete)

    def _send(self, up_to: int) -> None:
        for bucket in self.buckets[self.num_sent : up_to]:
            bucket.send()
        self.num_sent = max(self.num_sent, up_to)


class _Bucket:
    """The gradients of some parameters in one tensor, then one flag each: whether there is one."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters, self.missing = parameters, len(parameters)
        sizes = [parameter.numel() for parameter in parameters]
        self.sums = parameters[0].new_empty(sum(sizes) + len(sizes))
        *parts, self.present = self.sums.detach().split([*sizes, len(sizes)])
        # In the memory layout of the parameters, which makes optimizers and copies fastest.
        strides = [torch.empty_like(p, device="meta").stride() for p in parameters]
        self.gradients = [
            part.as_strided(parameter.shape, stride)
            for part, parameter, stride in zip(parts, parameters, strides, strict=True)
        ]
        self.wait: Callable[[], None] = _already_there

    @torch.no_grad()
    def send(self) -> None:
        """Start the all-reduce, with zeros for gradients that this rank does not have."""
        self.present.fill_(1)
        found, places = [], []
        for number, (parameter, place) in enumerate(self._pairs()):
            if parameter.grad is None:
                place.zero_()
                self.present[number].zero_()
            else:
                found.append(parameter.grad)
                places.append(place)
        if found:
            torch._foreach_copy_(places, found)  # pyright: ignore[reportPrivateImportUsage]
        self.wait = ranks.all_reduce_async_(self.sums)

    def receive(self) -> None:
        """Make the sums the gradients; only a rank that lacks one must read the flags."""
        self.wait()
        self.wait = _already_there  # the old function keeps the process group alive
        lacking = any(parameter.grad is None for parameter in self.parameters)
        present = self.present.tolist() if lacking else [1.0] * len(self.parameters)
        for (parameter, gradient), count in zip(self._pairs(), present, strict=True):
            if count > 0:
                parameter.grad = gradient

    def _pairs(self) -> Iterable[tuple[Tensor, Tensor]]:
        return zip(self.parameters, self.gradients, strict=True)


class _Statistics:
    """Running statistics, and one tensor in which their mean over the ranks is found."""

    def __init__(self, own: list[Tensor]) -> None:
        self.own = own
        self.sums = own[0].new_empty(sum(map(torch.numel, own)))
        self.parts = list(self.sums.split([len(values) for values in own]))
        self.wait: Callable[[], None] = _already_there

    def send(self, share: float) -> None:
        """Start the all-reduce, in which this rank's statistics have a share."""
        torch.cat(self.own, out=self.sums)
        self.wait = ranks.all_reduce_async_(self.sums.mul_(share))

    def receive(self) -> None:
        """Wait, and copy the means into the statistics."""
        self.wait()
        self.wait = _already_there
        torch._foreach_copy_(self.own, self.parts)  # pyright: ignore[reportPrivateImportUsage]


def running_statistics(model: nn.Module) -> Iterator[Tensor]:
    """The running means and variances of a network's norms."""
    for module in model.modules():
        if isinstance(module, _NormBase) and module.running_mean is not None:
            assert module.running_var is not None
            yield from (module.running_mean, module.running_var)


def _already_there() -> None:
    """There is nothing to wait for."""


def _split(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Split by dtype, in order, into lists of at most BUCKET numbers (or one larger tensor)."""
    open_: dict[torch.dtype, list[Tensor]] = {}
    for values in tensors:
        bucket = open_.setdefault(values.dtype, [])
        if bucket and sum(map(torch.numel, bucket)) + values.numel() > BUCKET:
            yield bucket
            open_[values.dtype] = bucket = []
        bucket.append(values)
    yield from open_.values()
