"""The number of training steps, kept in the network so that checkpoints hold it."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

NAME = "steps_taken"


def count_steps(model: nn.Module) -> nn.Module:
    """Add a counter at 0."""
    model.register_buffer(NAME, torch.zeros((), dtype=torch.int64))
    return model


def counted_step(model: nn.Module) -> Int64[Tensor, ""]:
    """How many steps came before this one; counts this one."""
    taken = getattr(model, NAME, None)
    if taken is None:
        raise ValueError("model must be prepared by its method, which adds a counter of steps")
    before = taken.clone()
    taken += 1
    return before


def ramp_up(model: nn.Module, steps: int) -> Float[Tensor, ""]:
    """exp(-5 (1 - t / T)²) up to step T, then 1; counts this step."""
    share = (counted_step(model) / steps).clamp(max=1)
    return torch.exp(-5 * (1 - share) ** 2)


def check_ramp(weight: float, ramp_steps: int) -> None:
    """Refuse a ramp without length, or to a weight below 0."""
    if weight < 0:
        raise ValueError(f"weight must be at least 0, got {weight}")
    if ramp_steps < 1:
        raise ValueError(f"ramp_steps must be at least 1, got {ramp_steps}")
