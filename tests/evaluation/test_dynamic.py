"""Dynamic evaluation against a literal loop over segments and weights."""

import json
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from evaluation_samples import resumed, same_on_ranks, unchanged
from hydra.utils import instantiate
from language import Small, ids, small
from oracles import dynamic as oracle
from wording import says

from vicinal.cli.configs import compose
from vicinal.data.text import Text, TextData
from vicinal.draws import Rng
from vicinal.evaluation.dynamic import Dynamic
from vicinal.evaluation.evaluation import Evaluation, Tabulated
from vicinal.evaluation.perplexity import OwnTexts, Perplexity
from vicinal.machine.runtime import Runtime

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
SETTINGS = {"lr": (1e-3, 3e-3), "decay": (0.002, 0.4), "train_columns": 6}
DYNAMIC = Dynamic(**SETTINGS)


def data() -> TextData:
    """Texts whose last segments are shorter; a single word is left at the end of one."""
    train, valid, test = (Text(ids(count, seed=count)) for count in (205, 47, 33))
    return TextData(train, valid, Text(test.ids.clamp(max=3)), 11, {})


def measured(
    evaluation: Dynamic, model: torch.nn.Module | None = None, of: TextData | None = None
) -> dict[str, float]:
    return evaluation(model or small().train(), of or data(), Rng.seeded(0))


def literal(name: str, lr: float, decay: float) -> float:
    model, of = small().eval(), data()
    rms = oracle.spread(model, of.train.ids.tolist(), 6, 5)
    return oracle.nll(deepcopy(model), getattr(of, name).ids.tolist(), rms, lr, decay, 2e-5, 5)


def test_it_equals_the_loop_over_segments_and_weights() -> None:
    found = measured(DYNAMIC)
    grid = {
        (lr, decay): literal("valid", lr, decay) for lr in (1e-3, 3e-3) for decay in (0.002, 0.4)
    }
    best = min(grid, key=lambda pair: grid[pair])
    assert (found["lr"], found["decay"]) == best
    assert found["valid_nll"] == pytest.approx(grid[best], rel=1e-12)
    assert found["test_nll"] == pytest.approx(literal("test", *best), rel=1e-12)
    for (lr, decay), nll in grid.items():
        ours = found[f"perplexity_lr{lr:g}_decay{decay:g}"]
        assert ours == pytest.approx(math.exp(nll), rel=1e-12)
    assert len({round(nll, 9) for nll in grid.values()}) == 4


def test_some_rates_of_decay_are_above_their_bound_in_the_comparison_above() -> None:
    model, of = small().eval(), data()
    rms = oracle.spread(model, of.train.ids.tolist(), 6, 5)
    mean = sum(sum(values) / len(values) for values in rms.values()) / len(rms)
    assert max(value for values in rms.values() for value in values) / mean > 1 / 0.4


def test_without_a_rate_it_is_the_perplexity() -> None:
    model, of = small(), data()
    found = measured(Dynamic(lr=(0,), decay=(0.002,), train_columns=6), model)
    for name in ("valid", "test"):
        plain = Perplexity(1, 5)(model, getattr(of, name))
        assert found[f"{name}_nll"] == pytest.approx(plain["nll"], rel=1e-14)
        assert found[f"{name}_perplexity"] == pytest.approx(plain["perplexity"], rel=1e-14)


def test_a_text_that_repeats_itself_is_learnt() -> None:
    train, often = ids(300), torch.arange(300) % 3
    of = TextData(Text(train), Text(often), Text(often), 11, {})
    model = small()
    found = measured(Dynamic(lr=(1e-2,), decay=(0.001,), train_columns=6), model, of)
    assert found["test_nll"] < 0.8 * Perplexity(1, 5)(model, of.test)["nll"]


@pytest.mark.parametrize("within", [torch.no_grad, torch.enable_grad])
def test_the_network_is_left_as_it_was(within: Callable[[], torch.no_grad]) -> None:
    model = small().train()
    model.drop.eval()
    model.encoder.weight.requires_grad = False  # as in an average of weights
    with unchanged(model), within():
        found = measured(DYNAMIC, model)
    assert found == measured(DYNAMIC)
    handle = model.drop.register_forward_pre_hook(failing(30))
    with unchanged(model), pytest.raises(ZeroDivisionError):
        measured(DYNAMIC, model)
    handle.remove()


def failing(after: int) -> Callable[..., None]:
    """A hook that fails at that call, in the midst of the validation text."""
    calls: list[int] = []

    def hook(*_: object) -> None:
        calls.append(1)
        if len(calls) > after:
            raise ZeroDivisionError

    return hook


def test_the_measured_words_and_those_of_the_statistics_may_be_fewer() -> None:
    of = data()
    short = TextData(
        Text(of.train.ids[:100]), Text(of.valid.ids[:20]), Text(of.test.ids[:20]), 11, {}
    )
    less = Dynamic(**SETTINGS, words=20, train_words=100)
    assert measured(less) == measured(DYNAMIC, of=short)
    assert measured(less) != measured(Dynamic(**SETTINGS, words=20))


def test_parts_that_are_known_give_the_numbers_of_a_whole_measurement() -> None:
    whole, known = measured(DYNAMIC), ["lr0.001_decay0.002", "lr0.003_decay0.4"]
    seen: list[str] = []
    parts = resumed(known, seen)
    for _ in range(2):
        assert DYNAMIC(small(), data(), Rng.seeded(0), parts) == whole
    assert seen[-3:] == ["lr0.001_decay0.4", "lr0.003_decay0.002", "test"]


def test_no_statistics_are_taken_where_all_parts_are_known() -> None:
    names = [f"lr{lr:g}_decay{decay:g}" for lr in (1e-3, 3e-3) for decay in (0.002, 0.4)]
    parts = resumed([*names, "test"], [])
    whole = DYNAMIC(small(), data(), Rng.seeded(0), parts)
    model = small()
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    assert DYNAMIC(model, data(), Rng.seeded(0), parts) == whole


def test_ranks_find_what_one_process_does(tmp_path: Path) -> None:
    model, of = small(), data()
    same_on_ranks(lambda: dict(DYNAMIC(model, of, Rng.seeded(0))), tmp_path)


def test_autocast_changes_nothing() -> None:
    torch.manual_seed(0)
    model, runtime = Small(11), Runtime(device="cpu", precision="bf16")
    found = measured(DYNAMIC, model)
    with runtime.autocast():
        assert measured(DYNAMIC, runtime.evaluated(model)) == found


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"lr": ()}, "lr must ... given"),
        ({"lr": (1e-5, -1)}, "lr must ... at least 0 ... -1"),
        ({"decay": (-1,)}, "decay must ... at least 0 ... -1"),
        ({"epsilon": 0}, "epsilon must ... above 0 ... 0"),
        ({"segment": 0}, "segment must ... at least 1 ... 0"),
        ({"train_columns": 0}, "train_columns must ... at least 1 ... 0"),
        ({"words": 1}, "words must ... at least 2 ... 1"),
        ({"train_words": 199}, "train_words must ... at least 200 ... 199"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{rule}")):
        Dynamic(**setting)


@pytest.mark.parametrize(("name", "default"), [("dynamic", Dynamic()), ("perplexity", OwnTexts())])
def test_a_config_is_its_evaluation_with_the_codes_settings(name: str, default: Evaluation) -> None:
    found = instantiate(compose(f"evaluation={name}").evaluation[name], _convert_="all")
    assert isinstance(found, Evaluation)
    assert not isinstance(found, Tabulated)
    assert type(found) is type(default)
    ours, theirs = (json.loads(json.dumps(asdict(each))) for each in (found, default))
    assert ours == theirs  # in JSON, where a tuple is a list


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_what_a_cpu_does() -> None:
    model, of = small(), data()
    expected = measured(DYNAMIC, model)
    assert measured(DYNAMIC, model.cuda(), of.to("cuda")) == pytest.approx(expected, rel=1e-9)
