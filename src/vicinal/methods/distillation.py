"""A student that also learns a trained teacher's softened outputs.

The mean of l(y', z) + T² l(softmax(r / T), z / T), l the cross-entropy with the softmax of its
second argument, z = f(x') the student's logits and r the teacher's, of the same image x'.

Paper:    He, Zhang, Zhang, Zhang, Xie, Li, Bag of Tricks for Image Classification with
          Convolutional Neural Networks, CVPR 2019, arXiv 1812.01187; §5.3, T = 20 (the section is
          cited from memory), after Hinton, Vinyals, Dean, 2015, arXiv 1503.02531; its number is
          quoted in GradAug Table 1
Code:     dmlc/gluon-cv (commit 5677756) gluoncv/loss.py, scripts/classification/imagenet/
          train_imagenet.py: the teacher sees the mixed images, in predict mode. Not compared.
Differs:  the code halves the loss (a weight of 0.5 for each part, by default); the paper adds the
          parts. The teacher is timm's copy of the authors' published ResNet-152-D, which is not
          necessarily the teacher of the paper's number.
Cost:     1 forward, 1 backward, 1 update of BatchNorm; and 1 forward of the teacher
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from vicinal.contracts import Inputs, Logits, Loss, Method, Targets, Vicinity
from vicinal.data.dataset import RunData
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.models.init import without_weights


@dataclass(frozen=True)
class Distillation(Method):
    """Over a vicinity. `attach` makes the teacher, which may load or download its weights."""

    vicinity: Vicinity
    teacher: Callable[..., nn.Module]
    temperature: float = 20.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        self._probe()  # the teacher's own checks, before any data is read

    @property
    def work(self) -> float:
        return 1.9  # ResNet-152-D's forward takes 2.7 times as long as ResNet-50-D's

    def attach(self, data: RunData) -> "_WithTeacher":
        known = getattr(self._probe(), "trained_classes", None)
        if known not in (None, data.num_classes):
            raise ValueError(
                "method.teacher must be trained on the classes of the data, got one of "
                f"{known} for {data.num_classes} (its classifier would be random)"
            )
        body = self._made(data.num_classes, data.shape)
        return _WithTeacher(self, data.network(body).eval().requires_grad_(False))

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        raise ValueError("Distillation must be attached to data: use what attach(data) returns")

    def _probe(self) -> nn.Module:
        """A teacher of no particular size and without weights."""
        with without_weights():
            return self._made(2, (3, 32, 32))

    def _made(self, num_classes: int, shape: tuple[int, ...]) -> nn.Module:
        try:
            return self.teacher(num_classes=num_classes, shape=shape)
        except ValueError as error:
            raise ValueError(f"method.teacher.{error}") from error


@dataclass(frozen=True)
class _WithTeacher(Method):
    """The method and its teacher, which is no part of the network that is trained."""

    method: Distillation
    teacher: nn.Module

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.method.vicinity(x, y, rng)
        softness = self.method.temperature
        soft = (self._logits(x) / softness).softmax(dim=1)
        z = model(x)
        yield (cross_entropy(z, y) + softness**2 * cross_entropy(z / softness, soft)).mean()

    @torch.no_grad()
    def _logits(self, x: Inputs) -> Logits:
        if next(self.teacher.parameters()).device != x.device:  # it was made on the CPU
            self.teacher.to(x.device)
        return self.teacher(x)
