"""Mean Teacher and GradAug-semi against their equations, step by step."""

from math import exp

import pytest
import torch
from oracles.gradaug import sliced
from oracles.networks import pre_activation
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Method
from vicinal.draws import Rng
from vicinal.methods.gradaug import GradAug
from vicinal.methods.gradaug_semi import GradAugSemi
from vicinal.methods.mean_teacher import MeanTeacher
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.steps import count_steps, ramp_up
from vicinal.surgery.teacher import teacher_logits
from vicinal.vicinities.gaussian_noise import GaussianNoise
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.scale_rotate import ScaleRotate

FIXED = ScaleRotate([1.0])


def network() -> WideResNet:
    torch.manual_seed(0)
    return WideResNet(10, 1, num_classes=4, shape=(3, 8, 8)).double()


def batch(seed: int = 1, count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 3, 8, 8, generator=generator, dtype=torch.float64)
    u = torch.rand(count, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(count) % 4, 4).double(), u


def stepped(method: Method, model: nn.Module, rng: Rng, steps: int) -> list[float]:
    """Losses of some steps of plain gradient descent, on a batch of its own each."""
    losses = []
    for _ in range(steps):
        x, y, u = batch(len(losses))
        model.zero_grad()
        total = 0.0
        for term in method(model, x, y, rng, unlabelled=u):
            term.backward()
            total += term.item()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * parameter.grad)
        losses.append(total)
    return losses


def test_mean_teacher_equals_its_loss_and_average() -> None:
    method = MeanTeacher(Identity(), weight=8.0, decay=0.9, ramp_steps=3)
    model = method.prepare(network())
    ours = stepped(method, model, Rng.seeded(0), 5)
    student = {name: p.detach().clone() for name, p in network().named_parameters()}
    teacher = {name: p.clone() for name, p in student.items()}
    for step in range(5):
        x, y, u = batch(step)
        weights = {name: p.clone().requires_grad_() for name, p in student.items()}
        logits = pre_activation(torch.cat([x, u]), weights, (1, 1, 1), True)
        target = pre_activation(torch.cat([x, u]), teacher, (1, 1, 1), True)
        loss = torch.zeros((), dtype=torch.float64)
        for i in range(4):
            loss = loss - (y[i] * logits[i].log_softmax(0)).sum() / 8
        ramp = exp(-5 * (1 - min(step, 3) / 3) ** 2)
        for i in range(4, 8):
            for k in range(4):
                gap = logits[i].softmax(0)[k] - target[i].softmax(0)[k]
                loss = loss + 8.0 * ramp * gap**2 / 4 / 8
        assert ours[step] == pytest.approx(loss.item(), rel=1e-9)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for name, gradient in zip(student, gradients, strict=True):
            student[name] = student[name] - 0.1 * gradient
            teacher[name] = 0.9 * teacher[name] + 0.1 * student[name]
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, student[name], rtol=1e-8, atol=1e-9)


def test_the_teacher_is_no_parameter_and_leaves_no_trace() -> None:
    method = MeanTeacher(Identity())
    model, twin = method.prepare(network()), network()
    assert [name for name, _ in model.named_parameters()] == [
        name for name, _ in twin.named_parameters()
    ]
    x = batch()[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = list(model.parameters())
    torch.testing.assert_close(teacher_logits(model, x), twin(x))
    assert all(a is b for a, b in zip(model.parameters(), own, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not teacher_logits(model, x).requires_grad
    torch.testing.assert_close(model.eval()(x), network().eval()(x))


def test_teacher_and_student_draw_their_own_noise() -> None:
    x, y, u = batch()
    quiet, loud = (MeanTeacher(v, ramp_steps=1) for v in (Identity(), GaussianNoise(sigma=0.5)))
    for method, agree in ((quiet, True), (loud, False)):
        model = method.prepare(network())
        labelled_only = MeanTeacher(method.vicinity, weight=0.0).prepare(network())
        ((with_u,),) = [list(method(model, x, y, Rng.seeded(0), unlabelled=u))]
        alone = MeanTeacher(method.vicinity, weight=0.0)
        (without,) = alone(labelled_only, x, y, Rng.seeded(0), unlabelled=u)
        assert torch.isclose(with_u, without) == agree


def test_gradaug_semi_equals_our_reading_of_section_4_6() -> None:
    method = GradAugSemi(Identity(), FIXED, alpha=0.6, weight=2.0, ramp_steps=10)
    model, (x, y, u) = method.prepare(network()), batch()
    ramp_up(model, 10)  # one step was taken already
    terms = list(method(model, x, y, Rng.seeded(0), unlabelled=u))
    rng = Rng.seeded(0)
    drawn = torch.rand(2, dtype=torch.float64, generator=rng.shared)
    widths = sorted([0.6, *(0.6 + 0.4 * drawn).tolist()], reverse=True)
    weights = dict(network().named_parameters())

    def net(images: Tensor, w: dict[str, Tensor]) -> Tensor:
        return pre_activation(images, w, (1, 1, 1), True)

    expected = [-(y * net(x, weights).log_softmax(1)).sum(1).mean()]
    for width in widths:
        for images, factor in ((x, 1.0), (u, 2.0 * exp(-5 * 0.9**2))):
            q = net(images, weights).detach().softmax(1)
            z = net(images, sliced(weights, width))
            expected.append(factor * (q * (q.log() - z.log_softmax(1))).sum(1).mean())
    torch.testing.assert_close(torch.stack(terms), torch.stack(expected), rtol=1e-8, atol=1e-9)
    ours = torch.autograd.grad(sum(terms), list(model.parameters()))
    theirs = torch.autograd.grad(sum(expected), list(weights.values()))
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-7, atol=1e-8)


def test_gradaug_semi_without_weight_trains_as_gradaug() -> None:
    x, y, u = batch()
    semi, plain = GradAugSemi(Identity(), FIXED, weight=0.0), GradAug(Identity(), FIXED)
    model, twin = semi.prepare(network()), network()
    sum(semi(model, x, y, Rng.seeded(0), unlabelled=u)).backward()
    # Sizes are drawn for unlabelled images too, so only a fixed one lets the widths agree.
    sum(plain(twin, x, y, Rng.seeded(0))).backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(model.bn.buffers(), twin.bn.buffers(), strict=True):
        assert torch.equal(ours, theirs)  # unlabelled images leave no statistics


@pytest.mark.parametrize(
    "method",
    [
        GradAugSemi(Identity(), ScaleRotate(), ramp_steps=4),
        MeanTeacher(GaussianNoise(sigma=0.1), decay=0.5, ramp_steps=4),
    ],
    ids=["gradaug_semi", "mean_teacher"],
)
def test_resuming_from_the_network_s_state_is_never_having_stopped(method: Method) -> None:
    model, rng = method.prepare(network()), Rng.seeded(0)
    stepped(method, model, rng, 3)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    generators = rng.state()
    expected = stepped(method, model, rng, 3)
    again, later = method.prepare(network()), Rng.seeded(5)
    again.load_state_dict(state)
    later.restore(generators)
    assert stepped(method, again, later, 3) == expected
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_the_ramp_rises_to_one_and_counts() -> None:
    model = count_steps(nn.Linear(1, 1))
    values = [ramp_up(model, 4).item() for _ in range(7)]
    expected = [exp(-5 * (1 - t / 4) ** 2) for t in range(4)] + [1.0] * 3
    assert values == pytest.approx(expected)
    assert model.get_buffer("steps_taken") == 7


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: GradAugSemi(Identity(), FIXED, num_subnets=0), "num_subnets ... 1 ... 0"),
        (lambda: GradAugSemi(Identity(), FIXED, alpha=0.0), "alpha ... 0 ... 1 ... 0.0"),
        (lambda: GradAugSemi(Identity(), FIXED, weight=-1.0), "weight ... 0 ... -1.0"),
        (lambda: GradAugSemi(Identity(), FIXED, ramp_steps=0), "ramp_steps ... 1 ... 0"),
        (lambda: MeanTeacher(Identity(), weight=-1.0), "weight ... 0 ... -1.0"),
        (lambda: MeanTeacher(Identity(), decay=1.0), "decay ... 0 ... 1 ... 1.0"),
        (lambda: MeanTeacher(Identity(), ramp_steps=0), "ramp_steps ... 1 ... 0"),
    ],
)
def test_settings_are_checked(build, said: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{said}")):
        build()
