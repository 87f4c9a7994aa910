"""A method in somebody else's training loop."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Images, Loss, Method, Targets, parts, takes
from vicinal.data.dataset import OTHERS
from vicinal.draws import Rng

MISSING = {
    "rows": "the samples' positions in their data set",
    "unlabelled": "unlabelled images",
    "memory": "a network's memory",
}

SLACK = 1e-4  # beyond [0, 1], by the rounding of whatever made the images
Batch = Shaped[Tensor, "n ..."]
Labels = Shaped[Tensor, "n ..."]


class OwnLoop:
    """The loss terms of a method's steps, for a loop that goes backwards and updates by itself.

    It makes targets of labels and owns the method's draws. The first batch is checked, which waits
    once for the device. With several ranks, each needs its own `rank`.
    """

    def __init__(self, method: Method, num_classes: int, seed: int = 0, rank: int = 0) -> None:
        check_method(method)
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.method, self.num_classes, self.seed, self.rank = method, num_classes, seed, rank
        self._prepared = False
        self._rng: Rng | None = None  # made on the first batch's device
        self._state: dict[str, Tensor] = {}  # to begin with

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network as the method wants it; make the optimizer after this."""
        self._prepared = True
        return self.method.prepare(network)

    def terms(
        self,
        network: nn.Module,
        images: Batch,
        labels: Labels,
        progress: float | None = None,
    ) -> Iterator[Loss]:
        """The terms of one step's loss; go backwards from each before asking for the next.

        Labels are class numbers or rows of probabilities. Some methods also need `progress`, the
        share of the training that is done; the others do without it.
        """
        if not self._prepared:
            raise ValueError(
                "network must be prepared before the first step, for that is where the method "
                "changes it: network = steps.prepare(network), then make the optimizer"
            )
        if not images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise ValueError(
                f"images must be floats in [0, 1], got {kind}; divide them: images.float() / 255"
            )
        if self._rng is None:
            self._check_first(images, labels)
        more = self._more(progress)
        rng = self._generators(images.device)
        return self.method(network, images, self._targets(labels), rng, **more)

    def state(self) -> dict[str, Tensor]:
        """The state of the draws, for a checkpoint; empty before the first step."""
        return self._state if self._rng is None else self._rng.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue where `state` was taken, on a device of the same kind."""
        self._state, self._rng = state, None

    def _generators(self, device: torch.device) -> Rng:
        if self._rng is None:
            rng = Rng.seeded(self.seed, self.rank, str(device))
            if self._state and len(self._state["device"]) != len(rng.state()["device"]):
                raise ValueError(
                    f"state must be restored on a device of the same kind, got images on {device} "
                    "(generators of another kind cannot continue)"
                )
            rng.restore(self._state)
            self._rng = rng
        return self._rng

    def _more(self, progress: float | None) -> dict[str, Any]:
        """What the method wants beyond the batch."""
        if "progress" not in self.method.wants:
            return {}
        if progress is None:
            raise ValueError(
                f"progress must be given for {type(self.method).__name__}, as the share of the "
                "training that is done: steps.terms(network, images, labels, progress=share)"
            )
        return {"progress": progress}

    def _targets(self, labels: Labels) -> Targets:
        if labels.ndim == 1 and not labels.is_floating_point():
            return F.one_hot(labels.long(), self.num_classes).to(torch.get_default_dtype())
        if labels.shape[1:] != (self.num_classes,) or not labels.is_floating_point():
            kind = str(labels.dtype).removeprefix("torch.")
            raise ValueError(
                f"labels must be class numbers (n) or rows of {self.num_classes} probabilities, "
                f"got {tuple(labels.shape)} of {kind}"
            )
        return labels

    def _check_first(self, images: Batch, labels: Labels) -> None:
        """Refuse values that no method of this kind can train on."""
        extremes = torch.stack([each.float() for x in (images, labels) for each in x.aminmax()])
        low, high, first, last = extremes.tolist()
        for key, kind, taken in parts(self.method, "method"):
            if taken is Images and not (low >= -SLACK and high <= 1 + SLACK):
                raise ValueError(
                    f"images must be pixels in [0, 1] for {key} ({kind}), got {low:.3g} to "
                    f"{high:.3g}; normalise inside the network: Normalized(network, mean, std) of "
                    "vicinal.models.normalized"
                )
        if labels.ndim == 1 and not (first >= 0 and last < self.num_classes):
            raise ValueError(
                f"labels must be from 0 to {self.num_classes - 1} for num_classes="
                f"{self.num_classes}, got {first:.0f} to {last:.0f}"
            )


def check_method(method: Method) -> None:
    """Refuse a method that needs what such a loop does not give."""
    kind = type(method).__name__
    if not isinstance(method, Method):
        raise ValueError(f"method must be a vicinal.contracts.Method, got {kind}")
    if takes(type(method)) in OTHERS:
        other = OTHERS[takes(type(method))]
        raise ValueError(f"method must be for classified samples, got {kind}, for {other}")
    for want in method.wants:
        if want in MISSING:
            raise ValueError(
                f"method must need no more than images and labels, got {kind}, which needs "
                f"{MISSING[want]} (`vicinal train` gives it those)"
            )
