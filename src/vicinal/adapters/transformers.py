"""Any method in Hugging Face's Trainer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments

from vicinal.adapters.loop import OwnLoop

IMAGES, LABELS = "pixel_values", "labels"
DRAWS = "vicinal_draws.safetensors"  # in a checkpoint's folder


class Classifier(nn.Module):
    """An image classifier of Hugging Face's as a plain network: images in, logits out.

    `stages` name modules of it, in the order of the forward, for methods that act between them.
    """

    stages: tuple[str, ...]

    def __init__(self, model: nn.Module, stages: Sequence[str] = ()) -> None:
        super().__init__()
        self.model = model
        if stages:
            self.stages = tuple(f"model.{stage}" for stage in stages)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.model(pixel_values=x).logits


class MethodTrainer(Trainer):
    """A Trainer whose steps are a method's: `model` is a plain network, from images to logits.

    Samples hold `pixel_values`, floats in [0, 1], and `labels`. The method's draws go into the
    checkpoints. One device alone.
    """

    def __init__(  # noqa: PLR0913 (as many as a Trainer of classifiers needs)
        self,
        model: nn.Module,
        args: TrainingArguments,
        steps: OwnLoop,
        *,
        train_dataset: Any = None,  # torch's or Hugging Face's, as everywhere in a Trainer
        eval_dataset: Any = None,
        data_collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),  # an optimizer and a scheduler
    ) -> None:
        check_arguments(args)
        self.steps = steps
        super().__init__(
            model=steps.prepare(model),
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        self.model_accepts_loss_kwargs = True  # so that it counts the labels of an update
        self.label_names = [LABELS] if args.label_names is None else args.label_names
        self._signature_columns = [IMAGES, LABELS, "label", "label_ids"]  # of a data set, to keep

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Go backwards from each of the method's terms; return the sum of them.

        The batch weighs as much as its share of the samples that the update is for.
        """
        model.train()
        if callable(train := getattr(self.optimizer, "train", None)):  # of a schedule-free one
            train()
        inputs = self._prepare_inputs(inputs)
        images, labels = inputs[IMAGES], inputs[LABELS]
        share = 1 / self.current_gradient_accumulation_steps
        if num_items_in_batch is not None:
            share = labels.numel() / num_items_in_batch
        terms = self.steps.terms(model, images, labels, self._progress())
        total = torch.zeros((), device=images.device)
        while True:
            with self.compute_loss_context_manager():
                term = next(terms, None)
            if term is None:
                return total
            weighted = share * term
            self.accelerator.backward(weighted)
            total = total + weighted.detach()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The cross-entropy, which is what evaluations report."""
        logits = model(inputs[IMAGES])
        loss = F.cross_entropy(logits, inputs[LABELS])
        return (loss, {"logits": logits}) if return_outputs else loss

    def _progress(self) -> float:
        """The share of the training that is done."""
        return min(self.state.global_step / self.state.max_steps, 1.0)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        save_file(self.steps.state(), Path(output_dir, DRAWS))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            self.steps.restore(load_file(Path(checkpoint, DRAWS)))


def check_arguments(args: TrainingArguments) -> None:
    """Refuse what a method's steps would leave out."""
    devices = args.world_size * max(args.n_gpu, 1)
    if devices > 1:
        raise ValueError(
            f"args must be for one device, got {devices} (a method's backward passes are not "
            "synchronised; `vicinal train` does that; CUDA_VISIBLE_DEVICES=0 leaves one)"
        )
    for key in ("label_smoothing_factor", "torch_empty_cache_steps", "deepspeed"):
        if value := getattr(args, key):
            raise ValueError(
                f"args.{key} must not be set, got {value} (a step is the method's, not Trainer's)"
            )
