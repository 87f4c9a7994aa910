"""Any method as a module that Lightning's Trainer trains."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vicinal.adapters.loop import OwnLoop

DRAWS = "vicinal_draws"  # in Lightning's checkpoints


class MethodModule(LightningModule):
    """A network that a method trains; logs train_loss, val_accuracy and test_accuracy.

    `optimizers` makes of the prepared network what configure_optimizers may return: one optimizer,
    or a dict with its lr_scheduler, which is stepped as Lightning does. `monitor` is the logged
    value that ReduceLROnPlateau follows.

    A step may have several backward passes, so Lightning's automatic optimization is off. Hence it
    refuses Trainer(gradient_clip_val=…), in whose place is `clip_norm`, and
    Trainer(accumulate_grad_batches=…), in whose place is a larger batch. One device alone.
    """

    def __init__(
        self,
        network: nn.Module,
        steps: OwnLoop,
        optimizers: Callable[[nn.Module], Any],
        clip_norm: float | None = None,
        monitor: str | None = None,
    ) -> None:
        super().__init__()
        if clip_norm is not None and clip_norm <= 0:
            raise ValueError(f"clip_norm must be above 0, got {clip_norm} (None: no clipping)")
        self.automatic_optimization = False
        self.steps, self.network = steps, steps.prepare(network)
        self.make_optimizers, self.clip_norm, self.monitor = optimizers, clip_norm, monitor

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.network(images)

    def configure_optimizers(self) -> Any:
        """What the factory makes."""
        return self.make_optimizers(self.network)

    def on_fit_start(self) -> None:
        """Refuse what would train otherwise than it seems."""
        if self.trainer.world_size > 1:
            raise ValueError(
                f"Trainer must have devices=1, got {self.trainer.world_size} of them (a method's "
                "backward passes are not synchronised; `vicinal train` does that)"
            )
        if self.clip_norm is not None and self.trainer.precision == "16-mixed":
            raise ValueError(
                "clip_norm must be None with precision 16-mixed, whose gradients are scaled "
                "(bf16-mixed needs no scaling)"
            )

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """One update of the weights."""
        images, labels = batch
        optimizer = self._optimizer()
        optimizer.zero_grad()
        loss = torch.zeros((), device=images.device)
        for term in self.steps.terms(self.network, images, labels, self._progress()):
            self.manual_backward(term)
            loss = loss + term.detach()
        if self.clip_norm is not None:
            self.clip_gradients(optimizer.optimizer, self.clip_norm, "norm")
        optimizer.step()
        self.log("train_loss", loss, prog_bar=True, batch_size=len(images))
        for plateau in (False, True):
            self._step_schedulers("step", batch_idx + 1, plateau)
        if self.trainer.is_last_batch:
            self._step_schedulers("epoch", self.current_epoch + 1, plateau=False)

    def on_train_epoch_end(self) -> None:
        """Step the schedulers that follow a measured value, which is known now."""
        self._step_schedulers("epoch", self.current_epoch + 1, plateau=True)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Log the share of images that are classified correctly."""
        self._log_accuracy("val_accuracy", *batch)

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Log the share of images that are classified correctly."""
        self._log_accuracy("test_accuracy", *batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the draws' state."""
        checkpoint[DRAWS] = self.steps.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the draws."""
        self.steps.restore(checkpoint[DRAWS])

    def _optimizer(self) -> LightningOptimizer:
        made = self.optimizers()
        if not isinstance(made, LightningOptimizer):
            raise ValueError(f"optimizers must make one optimizer, got {len(made)}")
        return made

    def _progress(self) -> float | None:
        """The share of the training that is done; None if that has no end."""
        if "progress" not in self.steps.method.wants:
            return None
        steps = self.trainer.estimated_stepping_batches
        return min(self.global_step / steps, 1.0) if isfinite(steps) else None

    def _log_accuracy(self, name: str, images: Tensor, labels: Tensor) -> None:
        correct = self(images).argmax(dim=1) == labels
        self.log(name, correct.float().mean(), prog_bar=True, batch_size=len(images))

    def _step_schedulers(self, interval: str, count: int, plateau: bool) -> None:
        """Step those of an interval that are due; a plateau's also needs the value it follows."""
        for config in self.trainer.lr_scheduler_configs:
            kind = config.interval, isinstance(config.scheduler, ReduceLROnPlateau)
            if kind == (interval, plateau) and count % config.frequency == 0:
                self.lr_scheduler_step(config.scheduler, self._monitored() if plateau else None)

    def _monitored(self) -> Tensor:
        """The value that a plateau is found in; Lightning drops the name that a dict gives it."""
        logged = self.trainer.callback_metrics
        if self.monitor not in logged:
            raise ValueError(
                "monitor must name a logged value for ReduceLROnPlateau, got "
                f"{self.monitor} (logged: {', '.join(logged) or 'none'})"
            )
        return logged[self.monitor]
