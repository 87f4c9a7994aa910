"""The yardstick against attacks on one image at a time, and what it promises of its numbers."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_samples import of_trained, right
from composing import compose
from evaluation_samples import data, network, resumed, same_on_ranks, unchanged
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.attacks.apgd import Apgd
from vicinal.attacks.attack import Attack
from vicinal.attacks.square import Square
from vicinal.attacks.threat import Threat
from vicinal.contracts import Images, Targets
from vicinal.data.split import Split
from vicinal.draws import Draws, Rng
from vicinal.errors import RunError
from vicinal.evaluation.checks import CHECKS
from vicinal.evaluation.evaluation import Numbers
from vicinal.evaluation.examined import spread
from vicinal.evaluation.yardstick import Yardstick


def attacks(scale: float = 1.0) -> dict[str, Attack]:
    """The second breaks more than the first."""
    return {
        "apgd": Apgd(Threat(0.3 * scale, "l2"), 3),
        "square": Square(Threat(0.07 * scale), 60),
    }


@dataclass(frozen=True)
class Counting:
    """Moves no image, and notes how many it was given and whether in autocast."""

    seen: list[int] = field(default_factory=list)
    autocast: list[bool] = field(default_factory=list)
    threat: Threat = field(default=Threat(0.1))

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
        self.seen.append(len(x))
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return x


def test_an_image_stands_if_it_withstands_each_attack_in_turn() -> None:
    model, samples = of_trained()
    assert isinstance(samples.test, Split)
    x, y = samples.test.x, F.one_hot(samples.test.y, 4).double()
    found = Yardstick(attacks(), images=40, batch_size=9)(model, samples, Rng.seeded(3))
    rng, of_48 = Rng.seeded(3), [i * 48 // 40 for i in range(40)]
    standing = [row for row in of_48 if right(model, x, y)[row]]
    expected = {"clean_top1": 100 * len(standing) / 40}
    for name, attack in attacks().items():
        still = []
        for row in standing:
            moved = attack(model, x[[row]], y[[row]], rng.fork(name).of_rows([row]))
            still += [row] * bool(right(model, moved, y[[row]]))
        standing, expected[f"{name}_top1"] = still, 100 * len(still) / 40
    assert 100 > expected["clean_top1"] > expected["apgd_top1"] > expected["square_top1"] > 0
    expected["robust_accuracy"] = expected["square_top1"]
    assert found == expected | dict.fromkeys(CHECKS, 0.0)


def test_robust_accuracy_falls_with_epsilon_from_clean_accuracy_on() -> None:
    model, samples = of_trained()
    found = [
        Yardstick(attacks(scale))(model, samples, Rng.seeded(0))["robust_accuracy"]
        for scale in (0, 0.5, 1, 4)
    ]
    assert found[0] == Yardstick(attacks(0))(model, samples, Rng.seeded(0))["clean_top1"]
    for smaller, larger in pairwise(found):
        assert larger < smaller
    assert found[-1] == 0


def test_another_attack_never_raises_it() -> None:
    model, samples = of_trained()
    both = Yardstick(attacks())(model, samples, Rng.seeded(0))
    alone = [
        Yardstick({name: attack})(model, samples, Rng.seeded(0))["robust_accuracy"]
        for name, attack in attacks().items()
    ]
    assert both["robust_accuracy"] <= min(alone) < max(alone)


def test_each_attack_meets_only_images_that_stand() -> None:
    model, samples = of_trained()
    first, second = Counting(), Counting()
    stages = {"first": first, **attacks(), "second": second}
    found = Yardstick(stages, images=30, batch_size=7)(model, samples, Rng.seeded(0))
    assert sum(first.seen) == round(0.30 * found["clean_top1"])
    assert sum(second.seen) == round(0.30 * found["square_top1"])
    assert set(first.seen[:-1]) == {7}


def test_where_nothing_stands_there_is_nothing_to_attack() -> None:
    model, samples = of_trained()
    assert isinstance(samples.test, Split)
    wrong = replace(samples, test=Split(samples.test.x, (model(samples.test.x).argmax(1) + 1) % 4))
    attack = Counting()
    found = Yardstick({"never": attack})(model, wrong, Rng.seeded(0))
    assert (found["clean_top1"], found["robust_accuracy"], attack.seen) == (0, 0, [])


def test_images_are_evenly_spaced_because_classes_may_stand_in_order() -> None:
    assert spread(10, 4).tolist() == [0, 2, 5, 7]
    model, samples = of_trained()
    every = Yardstick(attacks(), images=None)(model, samples, Rng.seeded(0))
    assert Yardstick(attacks(), images=99)(model, samples, Rng.seeded(0)) == every
    attack = Counting()
    found = Yardstick({"all": attack}, images=24)(model, samples, Rng.seeded(0))
    assert sum(attack.seen) == round(0.24 * found["clean_top1"]) == 22  # rows 0 and 2 are missed


def test_an_images_draws_depend_on_its_row_and_on_the_attack_alone() -> None:
    @dataclass(frozen=True)
    class Drawing(Counting):
        drawn: list[float] = field(default_factory=list)

        def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
            self.drawn.extend(rng.uniform_like(x[:, 0, 0, 0]).tolist())
            return x

    model, samples = of_trained()
    found = []
    for size in (4, 48):
        first, second = Drawing(), Drawing()
        attacks = {"first": first, "second": second}
        Yardstick(attacks, batch_size=size)(model, samples, Rng.seeded(0))
        found.append((first.drawn, second.drawn))
    assert found[0] == found[1]
    assert len({*found[0][0], *found[0][1]}) == 2 * 45


def test_an_images_fate_does_not_depend_on_the_batches() -> None:
    model, samples = of_trained()
    found = [
        Yardstick(attacks(), batch_size=size)(model, samples, Rng.seeded(0)) for size in (1, 11, 99)
    ]
    assert found[0] == found[1] == found[2]


def test_attacks_run_in_full_precision() -> None:
    attack = Counting()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Yardstick({"any": attack})(network(), data(), Rng.seeded(0))
    assert attack.autocast == [False]


def test_ranks_find_what_one_process_does(tmp_path: Path) -> None:
    def measure() -> Numbers:
        evaluation = Yardstick(attacks(0.2), batch_size=3)
        return evaluation(network(), data(30), Rng.seeded(0))

    same_on_ranks(measure, tmp_path)


@pytest.mark.parametrize("known", [("apgd",), ("apgd", "square")])
def test_it_resumes_after_each_attack(known: tuple[str, ...]) -> None:
    model, samples = of_trained()
    measured: list[str] = []
    evaluation = Yardstick(attacks())
    found = evaluation(model, samples, Rng.seeded(0), resumed(known, measured))
    assert found == evaluation(model, samples, Rng.seeded(0))
    assert measured == [name for name in attacks() if name not in known]


def test_what_an_attack_found_is_taken_from_its_part() -> None:
    """Rows that fell in an earlier attempt are fallen, and the attack is not run again."""
    model, samples = of_trained()
    attack = Counting()

    def kept(names: Any, measure: Any) -> dict[str, Numbers]:
        return {name: {"5": 1.0, "7": 1.0} for name in names}

    found = Yardstick({"any": attack})(model, samples, Rng.seeded(0), kept)
    assert found["robust_accuracy"] == pytest.approx(found["clean_top1"] - 200 / 48)
    assert attack.seen == []


def test_the_checks_are_means_over_all_images() -> None:
    """With quantised pixels no gradient is left, so only Square breaks an image."""

    class Quantised(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model((x * 16).round() / 16)

    model, samples = of_trained()
    evaluation = Yardstick(
        {"apgd": Apgd(Threat(0.03), 3), "square": Square(Threat(0.08), 50)}, batch_size=7
    )
    found = evaluation(Quantised(), samples, Rng.seeded(0))
    assert found["zero_gradients"] == 100
    assert found["apgd_top1"] > found["square_top1"] + 20


def test_the_network_is_left_as_it_was() -> None:
    model = network()
    with unchanged(model):
        Yardstick(attacks(0.2))(model, data(12), Rng.seeded(0))


def test_an_image_without_finite_logits_does_not_stand() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :4] * torch.nan

    found = Yardstick({"none": Counting()})(Broken(), data(8), Rng.seeded(0))
    assert found["robust_accuracy"] == 0


def test_vectors_are_refused() -> None:
    vectors = Split(torch.zeros(3, 5), torch.zeros(3).long())
    with pytest.raises(RunError, match=says("^dataset ... images ... (5,)")):
        Yardstick(attacks())(network(), replace(data(8), test=vectors), Rng.seeded(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attacks": {}}, "^attacks ... name ... none"),
        ({"attacks": {"clean": Counting()}}, "^attacks ... clean"),
        ({"images": 0}, "^images ... 1 ... 0"),
        ({"batch_size": 0}, "^batch_size ... 1 ... 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        Yardstick(**{"attacks": attacks()} | settings)


def test_its_config_is_autoattacks_threat() -> None:
    config = compose("evaluation=yardstick").evaluation.yardstick
    threat = Threat(8 / 255)
    expected = Yardstick({"apgd": Apgd(threat), "square": Square(threat)})
    assert instantiate(config, _convert_="all") == expected


def test_its_config_can_be_of_l2() -> None:
    overrides = (
        "attack@evaluation.yardstick.attacks.apgd=apgd_l2",
        "~attack@evaluation.yardstick.attacks.square",
    )
    config = compose("evaluation=yardstick", *overrides).evaluation.yardstick
    assert instantiate(config, _convert_="all") == Yardstick({"apgd": Apgd(Threat(0.5, "l2"))})
