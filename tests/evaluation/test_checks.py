"""Each check finds networks that defeat an attack without being robust, and only its own kind."""

from collections.abc import Callable

import pytest
import torch
from attack_samples import trained
from evaluation_samples import data, network, unchanged
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.data.split import Split
from vicinal.evaluation.checks import CHECKS, percentages, signs
from vicinal.loggers.evaluations import warnings


def checked(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    return percentages(signs(model, x, y))


class Defended(nn.Module):
    """A trained network behind a defence."""

    def __init__(self, defence: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.defence = trained()[0], defence

    def forward(self, x: Tensor) -> Tensor:
        return self.defence(self.body, x)


def quantised(body: nn.Module, x: Tensor) -> Tensor:
    return body((x * 16).round() / 16)


def noisy(body: nn.Module, x: Tensor) -> Tensor:
    return body(x + 0.05 * torch.randn_like(x))


def softened(body: nn.Module, x: Tensor) -> Tensor:
    return body(x).softmax(1)


@pytest.mark.parametrize(
    ("defence", "sign"),
    [(quantised, "zero_gradients"), (noisy, "random_logits"), (softened, "probabilities")],
)
def test_each_defence_raises_its_own_number_alone(
    defence: Callable[[nn.Module, Tensor], Tensor], sign: str
) -> None:
    _, x, y = trained()
    found = checked(Defended(defence), x, y)
    assert found == dict.fromkeys(CHECKS, 0.0) | {sign: 100.0}
    assert len(warnings(found)) == 1


def test_an_ordinary_network_raises_none() -> None:
    model, x, y = trained()
    found = checked(model, x, y)
    assert found == dict.fromkeys(CHECKS, 0.0)
    assert warnings(found) == []


def test_a_network_may_ignore_pixels() -> None:
    _, x, y = trained()

    def cropped(body: nn.Module, x: Tensor) -> Tensor:
        return body(F.pad(x[..., :-1], (0, 1)))

    assert checked(Defended(cropped), x, y)["zero_gradients"] == 0


def test_logits_may_be_from_0_to_1_or_sum_to_1() -> None:
    _, x, y = trained()

    def squashed(body: nn.Module, x: Tensor) -> Tensor:
        return body(x).sigmoid()

    def centred(body: nn.Module, x: Tensor) -> Tensor:
        logits = 10 * body(x)
        return logits - logits.mean(1, keepdim=True) + 0.25

    for defence in (squashed, centred):
        assert checked(Defended(defence), x, y)["probabilities"] == 0


def test_they_are_percentages_of_images() -> None:
    """Where a quarter of the images are quantised, and another's logits are random."""
    _, x, y = trained()

    def some(body: nn.Module, x: Tensor) -> Tensor:
        quarter = len(x) // 4
        first, second, rest = x[:quarter], x[quarter : 2 * quarter], x[2 * quarter :]
        return torch.cat([quantised(body, first), noisy(body, second), body(rest)])

    found = checked(Defended(some), x, y)
    assert found == {"zero_gradients": 25.0, "random_logits": 25.0, "probabilities": 0.0}


def test_dropout_of_training_is_not_randomness() -> None:
    model, x, y = trained()
    found = checked(nn.Sequential(nn.Dropout(0.5), model).train(), x, y)
    model.eval()
    assert found["random_logits"] == 0


def test_they_leave_the_network_as_it_was() -> None:
    model, samples = network(), data(6).test
    assert isinstance(samples, Split)
    with unchanged(model):
        checked(model, samples.x.float() / 255, F.one_hot(samples.y, 4).float())


@pytest.mark.parametrize("prefix", ["", "apgd_", "two_words_"])
@pytest.mark.parametrize("sign", CHECKS)
def test_a_sign_becomes_a_sentence_with_its_number(prefix: str, sign: str) -> None:
    signs = {f"{prefix}{each}": 0.0 for each in CHECKS} | {f"{prefix}{sign}": 37.04}
    (sentence,) = warnings({f"{prefix}top1": 50.0} | signs)
    assert "37 %" in sentence
    assert "fail" in sentence


@pytest.mark.parametrize("prefix", ["", "mine_"])
def test_gradients_may_be_masked_where_square_breaks_what_apgd_does_not(prefix: str) -> None:
    """In AutoAttack's words: by more than 0.2 points."""

    def said(apgd: float, square: float) -> list[str]:
        return warnings({f"{prefix}apgd_top1": apgd, f"{prefix}square_top1": square})

    assert said(50.0, 50.0) == said(50.0, 49.9) == []
    (sentence,) = said(50.0, 42.5)
    assert "7.5 %" in sentence
    assert "masked" in sentence


def test_square_is_only_compared_with_apgd_of_the_same_kind() -> None:
    assert warnings({"clean_top1": 90.0, "fgsm_top1": 60.0, "square_top1": 20.0}) == []
    assert warnings({"my_apgd_top1": 90.0, "other_square_top1": 20.0}) == []
