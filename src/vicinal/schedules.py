"""The course of a run: its length, batches and learning rate, and the method it starts with."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Literal, Protocol, runtime_checkable

from vicinal.contracts import Method


@runtime_checkable
class Curve(Protocol):
    """The learning rate after `epoch` (fractional) of `epochs`, as a share of its base."""

    def __call__(self, epoch: float, epochs: int) -> float: ...


@dataclass(frozen=True)
class Constant(Curve):
    """The base rate throughout."""

    def __call__(self, epoch: float, epochs: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Step(Curve):
    """Multiplied by `factor` at each milestone.

    Milestones are shares of the run, so that a shorter run keeps its shape: 0.5 and 0.75 of 200
    epochs are the papers' 100 and 150. They fall on whole epochs.
    """

    milestones: Sequence[float] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not all(0 < m < 1 for m in self.milestones):
            raise ValueError(
                f"milestones must be between 0 and 1, got {list(self.milestones)} "
                "(shares of the run, not epochs: 100 of 200 epochs is 0.5)"
            )
        if self.factor <= 0:
            raise ValueError(f"factor must be above 0, got {self.factor}")

    def __call__(self, epoch: float, epochs: int) -> float:
        return self.factor ** sum(epoch >= round(m * epochs) for m in self.milestones)


@dataclass(frozen=True)
class Cosine(Curve):
    """Half a cosine from 1 down to 0, moving every step or at every epoch."""

    per: Literal["step", "epoch"] = "step"

    def __call__(self, epoch: float, epochs: int) -> float:
        position = epoch if self.per == "step" else int(epoch)
        return (1 + cos(pi * position / epochs)) / 2


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Epochs and batches, the learning rate's curve and its linear warm-up.

    The first `warmup_method_epochs` train by `warmup_method` (MaxUp §4: standard augmentation for
    five epochs). They count among `epochs`, and nothing is reset after them.

    With `epochs: 0` nothing is trained: the network is measured as it begins.

    After `epochs` the training may be restarted, from the weights that are best on validation, with
    a new optimizer. Such a stage lasts until an epoch is worse than the best of all but the last
    `patience_epochs` before it, and at most `epochs`.
    """

    epochs: int
    batch_size: int
    curve: Curve
    warmup_epochs: int = 0
    warmup_steps: int = 0  # in place of epochs
    warmup_from: float = 0.0  # the share of the rate that the warm-up begins at
    warmup_method: Method | None = None
    warmup_method_epochs: int = 0
    measure_epochs: int = 1  # from one measurement to the next; the last epoch is always measured
    restarts: int = 0
    patience_epochs: int = 5

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs must be at least 0, got {self.epochs} (0 trains nothing)")
        for key in ("batch_size", "measure_epochs", "patience_epochs"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, got {getattr(self, key)}")
        self._check_warmup()
        self._check_restarts()

    def _check_warmup(self) -> None:
        for key in ("warmup_epochs", "warmup_method_epochs"):
            value = getattr(self, key)
            if value < 0 or (self.epochs and value > self.epochs):  # without epochs, no matter
                raise ValueError(f"{key} must be in 0 .. epochs, got {value}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be at least 0, got {self.warmup_steps}")
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("warmup_epochs and warmup_steps cannot both be above 0")
        if not 0 <= self.warmup_from <= 1:
            raise ValueError(f"warmup_from must be between 0 and 1, got {self.warmup_from}")
        if (self.warmup_method is None) != (self.warmup_method_epochs == 0):
            raise ValueError(
                f"warmup_method_epochs must be above 0 with a warmup_method and 0 without one, "
                f"got {self.warmup_method_epochs} (choose with method@schedule.warmup_method=NAME)"
            )

    def _check_restarts(self) -> None:
        if self.restarts < 0:
            raise ValueError(f"restarts must be at least 0, got {self.restarts}")
        if self.restarts and not self.epochs:
            raise ValueError(
                f"restarts must be 0 with epochs=0, got {self.restarts} (nothing is trained)"
            )
        if self.restarts and self.measure_epochs > 1:
            raise ValueError(
                f"measure_epochs must be 1 with restarts, got {self.measure_epochs} (every epoch "
                "decides whether the training is restarted)"
            )
        if self.restarts and not isinstance(self.curve, Constant):
            raise ValueError(
                f"restarts must be 0 unless the curve is Constant, got {self.restarts} with "
                f"{type(self.curve).__name__}"
            )

    @property
    def most_epochs(self) -> int:
        """The epochs of all stages, if none ends early."""
        return self.epochs * (1 + self.restarts)

    def measured(self, epoch: int) -> bool:
        """Whether the network is measured after this epoch, counted from 1."""
        return epoch % self.measure_epochs == 0 or epoch == self.epochs

    def ends(self, stage: int, losses: Sequence[float]) -> bool:
        """Whether a stage ends after its epochs with these losses on validation.

        Stage 0 is the training before any restart.
        """
        if len(losses) == self.epochs:
            return True
        earlier = losses[: -1 - self.patience_epochs]
        return stage > 0 and len(earlier) > 0 and losses[-1] > min(earlier)

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The factor on the base learning rate at this step of the run."""
        epoch = step / steps_per_epoch
        length = self.warmup_steps / steps_per_epoch if self.warmup_steps else self.warmup_epochs
        return self._warmup(epoch, length) * self.curve(epoch, self.epochs)

    def _warmup(self, epoch: float, length: float) -> float:
        """The factor in a warm-up of so many epochs."""
        if epoch >= length:
            return 1.0
        return self.warmup_from + (1 - self.warmup_from) * epoch / length

    def method(self, epoch: int, method: Method) -> Method:
        """The method that trains in this epoch."""
        return self.warmup_method if epoch < self.warmup_method_epochs else method  # pyright: ignore[reportReturnType]
