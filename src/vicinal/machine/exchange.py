"""Gradients summed over the ranks while the backward still runs; alone, none of this does anything.

Parameters lie in buckets, from the network's end to its beginning, as a backward comes by them. A
bucket is sent once its gradients are complete and the bucket before it was sent, so that every rank
sends the same buckets in the same order. They are complete in the backward of a method's last term.
How many terms there are is known from the step before; where that was wrong, all is sent again.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from vicinal.machine import ranks
from vicinal.machine.synced_norms import SYNCED

BUCKET = 1 << 22  # numbers that are sent at a time: 16 MB of float32


class GradientExchange:
    """Of one network, whose parameters and layers stay what they are.

    A step is `begin`, then `next_term` before each backward, then `finish`.
    """

    def __init__(self, model: nn.Module) -> None:
        trained = (
            [p for p in model.parameters() if p.requires_grad] if ranks.world_size() > 1 else []
        )
        self.buckets = [_Bucket(each) for each in _split(reversed(trained))]
        for bucket in self.buckets:
            for parameter in bucket.parameters:
                parameter.register_post_accumulate_grad_hook(partial(self._arrived, bucket))
        self.norms = [module for module in model.modules() if isinstance(module, _NormBase)]
        # Layers that exchange in their backward meet the buckets in an order that depends on which
        # gradients a rank has: there, buckets wait for the end.
        self.early = not any(type(module) in SYNCED.values() for module in self.norms)
        self.terms, self.expected = 0, -1
        self.sending, self.num_sent = False, 0

    def begin(self) -> None:
        """Before the first term of a step."""
        self.terms, self.num_sent = 0, 0
        for bucket in self.buckets:
            bucket.missing = len(bucket.parameters)

    def next_term(self) -> None:
        """Before the backward of a term."""
        self.terms += 1
        self.sending = self.early and self.terms == self.expected

    @torch.no_grad()
    def finish(self, mine: int, whole: int) -> None:
        """After the last term of a step, on `mine` of the `whole` samples of all ranks.

        Leaves the sums of the ranks' gradients, and the means of BatchNorm's running statistics. A
        parameter that has a gradient on no rank is left without, as on one process.
        """
        if ranks.world_size() == 1:
            return
        self.sending = False
        too_early = self.early and self.terms > self.expected > 0
        self._send(len(self.buckets))
        if too_early:  # on all ranks, which have as many terms
            for bucket in self.buckets:
                bucket.arrive()
            self.num_sent = 0
            self._send(len(self.buckets))
        statistics = [_Statistics(each, mine, whole) for each in _split(self._statistics())]
        for sent in (*self.buckets, *statistics):
            sent.receive()
        self.expected = self.terms

    def _arrived(self, bucket: "_Bucket", _parameter: Tensor) -> None:
        """Called by autograd, when it has added to a parameter's gradient."""
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

    def _statistics(self) -> Iterator[Tensor]:
        for module in self.norms:
            if module.running_mean is not None:
                assert module.running_var is not None
                yield from (module.running_mean, module.running_var)


class _Bucket:
    """The gradients of some parameters, one after the other, and of which there are any."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters, self.missing = parameters, len(parameters)
        sizes = [parameter.numel() for parameter in parameters]
        self.sums = parameters[0].new_empty(sum(sizes) + len(sizes))
        *parts, self.present = self.sums.detach().split([*sizes, len(sizes)])
        # Laid out in memory as the parameters are: optimizers and copies are fastest then.
        strides = [torch.empty_like(p, device="meta").stride() for p in parameters]
        self.gradients = [
            part.as_strided(parameter.shape, stride)
            for part, parameter, stride in zip(parts, parameters, strides, strict=True)
        ]
        self.arrive: Callable[[], None] = _nothing

    @torch.no_grad()
    def send(self) -> None:
        """Zeros for the gradients that this rank does not have."""
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
        self.arrive = ranks.all_reduce_async_(self.sums)

    def receive(self) -> None:
        """The sums become the gradients; only a rank that lacks one must ask whether others do."""
        self.arrive()
        self.arrive = _nothing  # what it was holds on to the group
        lacking = any(parameter.grad is None for parameter in self.parameters)
        present = self.present.tolist() if lacking else [1.0] * len(self.parameters)
        for (parameter, gradient), count in zip(self._pairs(), present, strict=True):
            if count > 0:
                parameter.grad = gradient

    def _pairs(self) -> Iterable[tuple[Tensor, Tensor]]:
        return zip(self.parameters, self.gradients, strict=True)


class _Statistics:
    """Running statistics on their way to the mean over the ranks, weighted by their samples."""

    def __init__(self, own: list[Tensor], mine: int, whole: int) -> None:
        self.own = own
        self.sums = ranks.weighted(torch.cat([values.flatten() for values in own]), mine, whole)
        self.arrive = ranks.all_reduce_async_(self.sums)

    def receive(self) -> None:
        """The means become the statistics."""
        self.arrive()
        parts = self.sums.split([len(values) for values in self.own])
        torch._foreach_copy_(self.own, list(parts))  # pyright: ignore[reportPrivateImportUsage]


def _nothing() -> None:
    """What is not on its way has arrived."""


def _split(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """In their order, apart by type, and no more than BUCKET numbers at a time if it can be."""
    open_: dict[torch.dtype, list[Tensor]] = {}
    for values in tensors:
        bucket = open_.setdefault(values.dtype, [])
        if bucket and sum(map(torch.numel, bucket)) + values.numel() > BUCKET:
            yield bucket
            open_[values.dtype] = bucket = []
        bucket.append(values)
    yield from open_.values()
