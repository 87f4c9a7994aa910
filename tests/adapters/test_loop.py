"""A method in somebody else's loop equals its own call, and refuses what it cannot train on."""

from collections.abc import Callable

import pytest
import torch
from own_steps import CLASSES, METHODS, batches, network, same, sgd, trained
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.adapters.loop import OwnLoop, check_method
from vicinal.contracts import Method
from vicinal.draws import Rng
from vicinal.methods.augmix import AugMix as AugMixLoss
from vicinal.methods.detection_loss import DetectionLoss
from vicinal.methods.erm import Erm
from vicinal.methods.knn_mixup import KnnMixup
from vicinal.methods.mean_teacher import MeanTeacher
from vicinal.methods.pgdat import Pgdat
from vicinal.methods.scheduled_dropblock import ScheduledDropBlock
from vicinal.models.normalized import Normalized
from vicinal.vicinities.augmix import AugMix
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@pytest.mark.parametrize("name", METHODS)
def test_steps_are_the_methods_own_with_draws_of_the_seed(name: str) -> None:
    method, rng = METHODS[name](), Rng.seeded(3)
    model = method.prepare(network()).train()
    optimizer = sgd(model)
    for x, labels in batches():
        optimizer.zero_grad()
        for term in method(model, x, F.one_hot(labels, CLASSES).float(), rng):
            term.backward()
        optimizer.step()
    assert same(trained(OwnLoop(method, CLASSES, seed=3), batches()), model.state_dict())
    other = trained(OwnLoop(method, CLASSES, seed=4), batches())
    assert same(other, model.state_dict()) == (name == "erm")  # which draws nothing


def test_rows_of_probabilities_are_targets_as_they_are() -> None:
    rows = [(x, F.one_hot(labels, CLASSES).float()) for x, labels in batches()]
    by_rows, by_labels = (
        trained(OwnLoop(Erm(Mixup()), CLASSES), given) for given in (rows, batches())
    )
    assert same(by_rows, by_labels)
    soft = [(x, torch.full((4, CLASSES), 1 / CLASSES)) for x, _ in batches()]
    assert not same(trained(OwnLoop(Erm(Mixup()), CLASSES), soft), by_labels)


def test_draws_go_on_where_their_state_was_taken() -> None:
    first, second = batches()[:1], batches()[1:]
    steps = OwnLoop(Erm(Mixup()), CLASSES)
    assert steps.state() == {}
    halfway = trained(steps, first)
    state = {name: value.clone() for name, value in steps.state().items()}
    undisturbed = trained(steps, second, loaded(halfway))
    other = OwnLoop(Erm(Mixup()), CLASSES, seed=7)
    other.restore(state)
    assert other.state() is state
    assert same(trained(other, second, loaded(halfway)), undisturbed)


def loaded(weights: dict[str, Tensor]) -> nn.Module:
    model = network()
    model.load_state_dict(weights)
    return model


def test_ranks_draw_by_themselves() -> None:
    one, other = (trained(OwnLoop(Erm(Mixup()), CLASSES, rank=r), batches()) for r in (0, 1))
    assert not same(one, other)


@pytest.mark.parametrize(
    ("method", "place"),
    [
        (Erm(AugMix()), "method.vicinity (AugMix)"),
        (AugMixLoss(Identity(), AugMix()), "method.view (AugMix)"),
        (Pgdat(Identity()), "method (Pgdat)"),
    ],
)
def test_images_beyond_0_to_1_are_refused_where_a_method_needs_pixels(
    method: Method, place: str
) -> None:
    x, labels = batches()[0]
    x[0, 0, 0, 0], x[1, 0, 0, 0] = -2.125, 2.625
    steps = OwnLoop(method, CLASSES)
    model = steps.prepare(network())
    with pytest.raises(ValueError, match=says(f"^images ... [0, 1] ... {place}")) as error:
        steps.terms(model, x, labels)
    assert "-2.12 to 2.62" in str(error.value)
    assert "Normalized(network, mean, std)" in str(error.value)
    x[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="nan"):
        steps.terms(model, x, labels)
    steps.terms(model, x.nan_to_num().clamp(0, 1), labels)


@pytest.mark.parametrize("method", [Erm(Mixup()), METHODS["maxup"](), METHODS["patchup"]()])
def test_methods_that_need_no_pixels_take_any_images(method: Method) -> None:
    x, labels = batches()[0]
    steps = OwnLoop(method, CLASSES)
    for term in steps.terms(steps.prepare(network()), 5 * x - 2, labels):
        assert term.isfinite()


def test_images_are_looked_at_once() -> None:
    """Later batches cost no wait for the device."""
    x, labels = batches()[0]
    steps = OwnLoop(Pgdat(Identity(), steps=1), CLASSES)
    model = steps.prepare(network())
    steps.terms(model, x, labels)
    steps.terms(model, x - 1, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, y: ((255 * x).byte(), y),
            "^images ... [0, 1] ... uint8 ... images.float() / 255",
        ),
        (lambda x, y: (x, y + 1), "^labels ... 0 to 3 ... num_classes=4 ... 1 to 4"),
        (lambda x, y: (x, y - 1), "^labels ... 0 to 3 ... -1 to 2"),
        (lambda x, y: (x, y.float()), "^labels ... (4,) of float32"),
        (lambda x, y: (x, F.one_hot(y, 5).float()), "^labels ... 4 probabilities ... (4, 5)"),
        (lambda x, y: (x, F.one_hot(y, 4)), "^labels ... (4, 4) of int64"),
    ],
)
def test_what_is_no_batch_is_refused(change: Change, message: str) -> None:
    steps = OwnLoop(Erm(CutMix()), CLASSES)
    model = steps.prepare(network())
    with pytest.raises(ValueError, match=says(message)):
        steps.terms(model, *change(*batches()[0]))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (KnnMixup(Identity()), "^method ... KnnMixup ... positions"),
        (MeanTeacher(Identity()), "^method ... MeanTeacher ... unlabelled images"),
        (DetectionLoss(), "^method ... DetectionLoss ... objects in photos"),
        (lambda model, x, y, rng: (), "^method ... vicinal.contracts.Method ... function"),
    ],
)
def test_what_such_a_loop_cannot_give_is_refused_before_the_first_step(
    method: Method, message: str
) -> None:
    with pytest.raises(ValueError, match=says(message)):
        check_method.__wrapped__(method)  # pyright: ignore (past the check of annotations)


def test_a_number_of_classes_is_positive() -> None:
    with pytest.raises(ValueError, match=says("^num_classes ... 0")):
        OwnLoop(Erm(Mixup()), 0)


def test_progress_is_asked_for_where_a_method_needs_it() -> None:
    x, labels = batches()[0]
    steps = OwnLoop(ScheduledDropBlock(Identity(), block_size=1), CLASSES)
    model = steps.prepare(network())
    with pytest.raises(ValueError, match=says("^progress ... ScheduledDropBlock")):
        steps.terms(model, x, labels)
    losses = [next(steps.terms(model, x, labels, progress=share)) for share in (0.0, 0.0)]
    assert torch.equal(*losses)  # at the beginning nothing is dropped
    assert not torch.equal(losses[0], next(steps.terms(model, x, labels, progress=1.0)))


def test_a_network_that_was_not_prepared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"steps\.prepare\(network\)"):
        OwnLoop(METHODS["augmax"](), CLASSES).terms(network(), *batches()[0])


def test_a_state_of_another_kind_of_device_is_refused() -> None:
    steps = OwnLoop(Erm(Mixup()), CLASSES)
    steps.restore(Rng.seeded(0).state() | {"device": torch.zeros(16, dtype=torch.uint8)})
    model = steps.prepare(network())
    with pytest.raises(ValueError, match=says("^state ... same kind ... cpu")):
        steps.terms(model, *batches()[0])


def test_networks_without_names_of_stages_can_be_normalised() -> None:
    body = nn.Linear(3, CLASSES)
    body.stages = nn.ModuleList()  # layers, as in some networks of timm
    model, x = Normalized(body, (0.5,) * 3, (0.2,) * 3), torch.rand(4, 3)
    torch.testing.assert_close(model(x), body((x - 0.5) / 0.2))
    assert not hasattr(model, "stages")
