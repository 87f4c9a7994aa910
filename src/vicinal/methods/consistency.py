"""What AugMax and its relatives share: the norm with two routes, and the loss on three images."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from vicinal.contracts import Images, Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy, jensen_shannon
from vicinal.surgery.dubin import Norm, Route, routed, with_norm

LossForm = Literal["code", "paper"]


class WithNorm(Method):
    """A method whose `norm`, changed at `places`, may give clean and hard images a route each."""

    norm: Norm
    places: Sequence[str] | None

    def prepare(self, model: nn.Module) -> nn.Module:
        """Put that norm in place of the network's own."""
        return with_norm(model, self.norm, self.places)


def view_of(vicinity: Vicinity, x: Inputs, y: Targets, rng: Rng) -> Inputs:
    """A draw with the same target."""
    view, target = vicinity(x, y, rng)
    if target is not y:
        raise ValueError(
            f"view must keep the targets, got {vicinity} "
            "(its outputs are compared with those of the clean images)"
        )
    return view


def consistency_loss(
    model: nn.Module,
    x: Images,
    y: Targets,
    *,
    view: Images,
    hard: Images,
    lam: float,
    form: LossForm = "code",
    view_route: Route = "M",
) -> Loss:
    """CE(clean) + λ JS(clean, view, hard), or with ½ [CE(hard) + CE(clean)], as in AugMax Eq. 5.

    Three forwards, in the code's order: the hard images on route A, then the view, then the clean.
    """
    with routed(model, "A"):
        logits_hard = model(hard)
    with routed(model, view_route):
        logits_view = model(view)
    with routed(model, "M"):
        logits = model(x)
    divergence = jensen_shannon([logits, logits_hard, logits_view]).mean()
    loss = cross_entropy(logits, y).mean()
    if form == "paper":
        loss = 0.5 * (cross_entropy(logits_hard, y).mean() + loss)
    return loss + lam * divergence
