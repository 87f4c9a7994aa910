"""What holds for every evaluation: exact on ranks, resumable, and the network stays as it was."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from evaluation_samples import Noisy, data, network, resumed, same_on_ranks, unchanged
from hydra.utils import instantiate

from vicinal.data.shifted.cifar10_1 import Cifar10Point1
from vicinal.data.shifted.cifar_c import CifarC
from vicinal.data.shifted.deformed import Deformed
from vicinal.data.shifted.folder_c import ImageNetC, TinyImageNetC
from vicinal.data.shifted.generated import Generated
from vicinal.data.shifted.natural import Natural
from vicinal.draws import Rng
from vicinal.evaluation.activations import Activations
from vicinal.evaluation.between import Between
from vicinal.evaluation.corrupted import Corrupted
from vicinal.evaluation.evaluation import Evaluation
from vicinal.evaluation.norm_statistics import NormStatistics
from vicinal.evaluation.shifted import Shifted
from vicinal.evaluation.spatial import Spatial
from vicinal.tables.plan import plan_evaluation

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class TwoDeformed(Deformed):
    names = ("rotate_40", "scale_0.6")  # pyright: ignore[reportAssignmentType]


EVALUATIONS: dict[str, Callable[[int], Evaluation]] = {
    "deformed": lambda size: Shifted(TwoDeformed(), size),
    "noisy": lambda size: Shifted(Noisy(), size, mean_of_batches=9),
    "spatial": lambda size: Spatial(draws=3, first=20, batch_size=size),
    "between": lambda size: Between(pairs=30, steps=3, batch_size=size),
    "activations": lambda size: Activations(batch_size=size),
    "norms": lambda _: NormStatistics({"first": "stage1.0.bn1"}),
}


@pytest.mark.parametrize("name", EVALUATIONS)
@pytest.mark.parametrize("batch_size", [40, pytest.param(7, marks=pytest.mark.slow)])
def test_ranks_find_what_one_process_does(name: str, batch_size: int, tmp_path: Path) -> None:
    """With batches of 40 there are two, and a third rank has none."""
    model, samples = network(), data()
    evaluation = EVALUATIONS[name](batch_size)
    same_on_ranks(lambda: dict(evaluation(model, samples, Rng.seeded(0))), tmp_path)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_batch_size_and_what_was_drawn_before_change_nothing(name: str) -> None:
    model, samples = network().double(), data()
    found = EVALUATIONS[name](50)(model, samples, rng := Rng.seeded(0))
    torch.rand(9, generator=rng.cpu)
    again = EVALUATIONS[name](7)(model, samples, rng)
    assert again == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("name", EVALUATIONS)
@pytest.mark.parametrize("within", [torch.no_grad, torch.enable_grad])
def test_the_network_is_left_as_it_was(name: str, within: Callable[[], torch.no_grad]) -> None:
    model, samples = network(), data(20)
    with unchanged(model), within():
        EVALUATIONS[name](8)(model, samples, Rng.seeded(0))
    handle = model.get_submodule("body.fc").register_forward_pre_hook(lambda *_: 1 / 0)
    if name != "norms":  # runs no forward
        with unchanged(model), pytest.raises(ZeroDivisionError):
            EVALUATIONS[name](8)(model, samples, Rng.seeded(0))
    handle.remove()


@pytest.mark.parametrize(
    ("name", "known"),
    [("noisy", ["noise0.5"]), ("between", ["0", "1"]), ("deformed", ["scale_0.6"])],
)
def test_parts_that_are_known_give_the_numbers_of_a_whole_measurement(
    name: str, known: list[str]
) -> None:
    model, samples, evaluation = network(), data(), EVALUATIONS[name](25)
    whole = evaluation(model, samples, Rng.seeded(0))
    measured: list[str] = []
    parts = resumed(known, measured)
    assert evaluation(model, samples, Rng.seeded(0), parts) == whole
    assert evaluation(model, samples, Rng.seeded(0), parts) == whole
    assert measured
    assert not set(known) & set(measured)


@pytest.mark.parametrize("name", ["deformed", "spatial", "between"])
def test_another_seed_gives_other_numbers(name: str) -> None:
    model, samples = network(), data()
    found = [EVALUATIONS[name](25)(model, samples, Rng.seeded(seed)) for seed in (0, 1)]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("deformed", Shifted(Deformed())),
        ("cifar10_1", Shifted(Cifar10Point1(), mean_of_batches=100)),
        ("cifar10_c", Corrupted(CifarC("CIFAR-10-C"))),
        ("cifar100_c", Corrupted(CifarC("CIFAR-100-C"))),
        ("tiny_imagenet_c", Corrupted(TinyImageNetC(), "tiny_resnet18")),
        ("imagenet_c", Corrupted(ImageNetC(), "alexnet", 500)),
        ("imagenet_c_resized", Corrupted(ImageNetC(resize=256), "alexnet", 500)),
        ("corrupted", Corrupted(Generated())),
        ("natural", Shifted(Natural(), 250)),
        ("spatial", Spatial()),
        ("between", Between()),
        ("activations", Activations()),
        ("norm_statistics", NormStatistics()),
    ],
)
def test_a_config_is_its_evaluation_with_the_papers_settings(
    name: str, default: Evaluation
) -> None:
    found = instantiate(plan_evaluation(name, {}), _convert_="all")
    assert isinstance(default, Evaluation)
    assert type(found) is type(default)
    ours, theirs = (json.loads(json.dumps(asdict(each))) for each in (found, default))
    assert ours == theirs  # in JSON, where a tuple is a list
