"""Distillation against its formula; its teacher takes no part in the training."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import exp, log

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.distillation import Distillation
from vicinal.models.timm import Timm
from vicinal.models.wide_resnet import WideResNet
from vicinal.vicinities.compose import Compose
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.label_smoothing import LabelSmoothing
from vicinal.vicinities.mixup import Mixup

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def teacher(*, num_classes: int, shape: tuple[int, ...]) -> nn.Module:
    """With running statistics of its own, so that its mode matters."""
    network = WideResNet(10, 1, num_classes=num_classes, shape=shape)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(0.1)
            module.running_var.fill_(1.5)
    return network


def student() -> nn.Module:
    torch.manual_seed(1)
    return WideResNet(10, 1, num_classes=4, shape=(3, 8, 8)).double()


def data(classes: int = 4) -> Data:
    split = Split(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.arange(2))
    return Data(split, split, None, classes, MEAN, STD, {}, None)


def attached(method: Distillation):
    torch.manual_seed(0)
    found = method.attach(data())
    found.teacher.double()
    return found


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(4, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(4), 4).double()


def softmax(logits: list[float]) -> list[float]:
    powers = [exp(z) for z in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [20.0, 2.0])
def test_distillation_equals_section_5_3_over_mixup_of_smoothed_labels(temperature: float) -> None:
    vicinity = Compose(LabelSmoothing(), Mixup(alpha=0.2))
    method = attached(Distillation(vicinity, teacher, temperature))
    x, y = batch()
    (ours,) = method(student(), x, y, Rng.seeded(3))
    mixed, targets = vicinity(x, y, Rng.seeded(3))
    torch.manual_seed(0)
    theirs = teacher(num_classes=4, shape=(3, 8, 8)).double().eval()
    mean, std = (torch.tensor(each).double().view(3, 1, 1) for each in (MEAN, STD))
    with torch.no_grad():
        r = theirs((mixed - mean) / std).tolist()
        z = student()(mixed).tolist()
    expected = 0.0
    for n in range(4):
        soft = softmax([value / temperature for value in r[n]])
        warm = softmax([value / temperature for value in z[n]])
        for k, p in enumerate(softmax(z[n])):
            expected -= targets[n, k].item() * log(p) / 4
            expected -= temperature**2 * soft[k] * log(warm[k]) / 4
    # The statistics of the data are stored in float32.
    assert ours.item() == pytest.approx(expected, rel=1e-7)


def test_the_teacher_is_in_eval_mode_and_left_as_it_was() -> None:
    method, (x, y) = attached(Distillation(Identity(), teacher)), batch()
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    model = student()
    (loss,) = method(model, x, y, Rng.seeded(0))
    loss.backward()
    assert not any(module.training for module in method.teacher.modules())
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    for name, value in method.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is not None for p in model.parameters())
    assert all(module.training for module in model.modules())


def test_the_teacher_is_no_part_of_the_trained_network() -> None:
    method, model = attached(Distillation(Identity(), teacher)), student()
    names = list(model.state_dict())
    prepared = method.prepare(model)
    list(method(prepared, *batch(), Rng.seeded(0)))
    assert prepared is model
    assert list(model.state_dict()) == names


def test_a_teacher_is_made_with_its_weights_once_when_it_is_attached() -> None:
    made: list[str] = []

    def noted(*, num_classes: int, shape: tuple[int, ...]) -> nn.Module:
        made.append(torch.get_default_device().type)
        return teacher(num_classes=num_classes, shape=shape)

    method = Distillation(Identity(), noted)
    assert set(made) == {"meta"}
    made.clear()
    found = method.attach(data())
    assert made.count("cpu") == 1
    for seed in range(2):
        x, y = batch()
        list(found(student().float(), x.float(), y.float(), Rng.seeded(seed)))
    assert made.count("cpu") == 1


def test_the_teacher_moves_to_the_images_once(monkeypatch: pytest.MonkeyPatch) -> None:
    method = attached(Distillation(Identity(), teacher))
    moves: list[torch.device] = []
    to: Callable[..., nn.Module] = nn.Module.to

    def counted(self: nn.Module, device: torch.device) -> nn.Module:
        moves.append(device)
        return to(self, device)

    monkeypatch.setattr(nn.Module, "to", counted)
    x = batch()[0].to("meta")
    for _ in range(2):
        method._logits(x)
    assert moves == [torch.device("meta")]
    assert {p.device.type for p in method.teacher.parameters()} == {"meta"}


def test_a_student_that_agrees_has_the_entropy_left() -> None:
    """The soft part is least where the student's softened outputs are the teacher's."""
    method, (x, y) = attached(Distillation(Identity(), teacher, 2.0)), batch()

    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return method.teacher(x).requires_grad_()

    (loss,) = method(Same(), x, y, Rng.seeded(0))
    soft = (method.teacher(x) / 2).softmax(1)
    entropy = -(soft * soft.log()).sum(1).mean()
    expected = cross_entropy(method.teacher(x), y).mean() + 4 * entropy
    torch.testing.assert_close(loss, expected)


def test_mistakes_are_named_before_anything_is_downloaded() -> None:
    with pytest.raises(ValueError, match=says("^temperature ... 0 ... 0.0")):
        Distillation(Identity(), teacher, temperature=0.0)
    with pytest.raises(ValueError, match=says("^method.teacher.name ... resnet51")):
        Distillation(Identity(), partial(Timm, name="resnet51"))
    published = Distillation(
        Identity(), partial(Timm, name="resnet152d.gluon_in1k", pretrained=True)
    )
    with pytest.raises(ValueError, match=says("^method.teacher ... classes ... 1000 ... 4")):
        published.attach(data())
    unpublished = replace(published, teacher=partial(Timm, name="test_resnet"))
    assert unpublished.attach(data()).teacher.training is False
    with pytest.raises(ValueError, match=says("^Distillation ... attach(data)")):
        published(student(), *batch(), Rng.seeded(0))
