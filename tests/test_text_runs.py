"""Whole runs on text: trained, stopped and resumed, shared between ranks, measured, refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import compose
from safetensors.torch import load_file
from text_samples import SMALL, sentences
from two_ranks import on_two
from whole_runs import killed, without_time
from wording import says

from vicinal.cli.configs import build, resolved
from vicinal.cli.overrides import merge
from vicinal.errors import RunError
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.storage import records
from vicinal.storage.export import export

CHOICES = {"model": "awd_lstm", "method": "some"}
UNDISTURBED = (  # nothing is drawn
    "model.input_dropout=0 model.hidden_dropout=0 model.output_dropout=0 model.weight_dropout=0 "
    "method=next_word method.word_dropout.p=0"
).split()
STEPS = 13  # of the first epoch, at least: 4 columns of 100 words or more, in segments of 10
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentences(tmp_path_factory.mktemp("text"))


def made(text: Path, out: Path, *overrides: str) -> tuple[Run, dict[str, Any]]:
    given = (*SMALL, *overrides, f"out={out}", f"results={out}/results")
    config = compose("dataset=text", f"dataset.root={text}", "dataset.name=text", *given)
    return build(config), resolved(config)


def execute(text: Path, out: Path, *overrides: str) -> dict[str, Any]:
    """A run as the command line makes it; its record."""
    run, tree = made(text, out, *overrides)
    run.execute(tree, CHOICES)
    folder = out / records.name(tree, run.dataset.name, CHOICES) / f"seed{run.seed}"
    return json.loads((folder / "record.json").read_text())


@pytest.mark.parametrize("method", ["next_word", "adversarial_softmax", "maxup_words"])
def test_every_recipe_learns_which_word_follows(method: str, text: Path, tmp_path: Path) -> None:
    """Without the word before, none can be predicted better than at a perplexity of 7.4."""
    dropouts = [f"model.{kind}_dropout=0.1" for kind in ("input", "hidden", "output", "weight")]
    settings = f"method={method} optimizer=adam optimizer.lr=0.03 schedule.epochs=8".split()
    record = execute(text, tmp_path, *settings, *dropouts)
    found = record["curves"]["test_perplexity"]
    assert found[-1] < 4 < 7 < found[0]
    assert set(record["metrics"]["last"]) == {"nll", "perplexity"}
    assert record["timing"]["words_per_second"] > 0


def test_a_mixture_of_softmaxes_learns_it_as_well(text: Path, tmp_path: Path) -> None:
    dropouts = ("input", "hidden", "output", "latent", "weight")
    widths = "model.embedding=8 model.hidden=12 model.last_hidden=10"
    network = f"model=mos_awd_lstm {widths}".split()
    network += ["model.experts=3", *(f"model.{kind}_dropout=0.1" for kind in dropouts)]
    rest = [each for each in SMALL if not each.startswith("model")]
    settings = "method=next_word optimizer=adam optimizer.lr=0.1 schedule.epochs=8".split()
    places = [f"out={tmp_path}", f"results={tmp_path}/results"]
    given = [*network, *rest, *settings, *places]
    config = compose("dataset=text", f"dataset.root={text}", "dataset.name=text", *merge(given))
    build(config).execute(resolved(config), CHOICES)
    (path,) = tmp_path.glob("text/*/*/*/seed0/record.json")
    found = json.loads(path.read_text())["curves"]["test_perplexity"]
    assert found[-1] < 4 < 7 < found[0]


@pytest.mark.parametrize(
    "stop",
    [1, STEPS - 4, STEPS + 10],
    ids=["in the first epoch", "later in it", "while weights are averaged"],
)
def test_a_run_stopped_anywhere_ends_as_if_it_never_was(
    stop: int, text: Path, tmp_path: Path
) -> None:
    """With carried state, dropped weights, MaxUp's draws and the mean of the weights."""
    whole = execute(text, tmp_path / "whole", "method=maxup_words")

    def stops(loop: Loop) -> bool:
        if loop.steps_done != stop:
            return False
        assert loop.steps_in_epoch > 0
        assert loop.memory.state
        assert (loop.average is not None) == (loop.epoch == 1)
        return True

    out = tmp_path / "stopped"
    with killed(stops):
        execute(text, out, "method=maxup_words")
    torch.manual_seed(99)
    resumed = execute(text, out, "method=maxup_words")
    assert without_time(resumed) == without_time(whole)
    assert [session["from_step"] for session in resumed["sessions"]] == [0, stop]


def test_one_copy_of_maxup_is_the_recipe_without_it(text: Path, tmp_path: Path) -> None:
    plain = execute(text, tmp_path / "plain", "method=adversarial_softmax")
    one = execute(text, tmp_path / "one", "method=maxup_words", "method.copies=1")
    assert without_time(one) == without_time(plain)
    two = execute(text, tmp_path / "two", "method=maxup_words")
    assert without_time(two) != without_time(plain)


def trained(run: Run, steps: int, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """The loop's state after so many steps, of which some were done before."""
    loop = run.loop(run.dataset.load())
    if state is not None:
        loop.restore(state)
    for _ in loop.steps():
        if loop.steps_done == steps:
            break
    return loop.state()


def test_two_ranks_read_half_of_the_columns_each(text: Path, tmp_path: Path) -> None:
    """As one process reads them all, and what they carry is joined where one process goes on."""
    run, _ = made(text, tmp_path, *UNDISTURBED)
    expected = trained(run, 8)
    first, second = on_two(lambda: trained(run, 8), tmp_path)
    for found in (first, second, trained(run, 8, on_two(lambda: trained(run, 5), tmp_path)[0])):
        for name, value in expected["model"].items():
            torch.testing.assert_close(found["model"][name], value)
        for mine, theirs in zip(found["memory"], expected["memory"], strict=True):
            assert len(mine) == 4
            torch.testing.assert_close(mine, theirs)
    back = on_two(lambda: trained(run, 8, trained(run, 5)), tmp_path)
    for name, value in expected["model"].items():
        torch.testing.assert_close(back[0]["model"][name], value)


def test_evaluations_read_the_best_weights_of_a_finished_run(text: Path, tmp_path: Path) -> None:
    few = "evaluation.dynamic.lr=[1e-4] evaluation.dynamic.decay=[1e-3]"
    lines = f"evaluation=[perplexity,dynamic] reports=[best_valid] {few} method=next_word".split()
    trained = execute(text, tmp_path, "method=next_word")
    assert not trained["evaluations"]
    record = execute(text, tmp_path, *lines)
    found = {entry["name"]: entry["metrics"] for entry in record["evaluations"].values()}
    valid = min(record["curves"]["valid_perplexity"])
    assert 0.5 * valid < found["perplexity"]["valid_perplexity"] < 2 * valid
    assert found["dynamic"]["test_perplexity"] > 1
    assert len(record["sessions"]) == 1


def test_a_finished_network_is_exported_and_takes_no_measure_of_images(
    text: Path, tmp_path: Path
) -> None:
    execute(text, tmp_path, "method=next_word")
    (record,) = (path for path in tmp_path.rglob("record.json") if "results" not in path.parts)
    names: dict[str, Any] = {}
    exec(export(record.parent, tmp_path / "hub"), names)
    run, _ = made(text, tmp_path, "method=next_word", "evaluation=spatial")
    data = run.dataset.load()
    trained, words = run.build(data), data.test.columns(2)
    trained.load_state_dict(load_file(record.parent / "weights" / "last.safetensors"))
    found = names["network"].eval()(words)
    assert torch.equal(found.logits, trained.eval()(words).logits)
    with pytest.raises(RunError, match=says("^evaluation.spatial ... TextData ... Spatial")):
        run.finished(record.parent)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=mixup"], "^method ... text ... Erm"),
        (
            ["method=next_word", "vicinity@method.features=cutmix"],
            "^method.features ... word vectors ... CutMix ... images",
        ),
        (["model=mlp"], "^model ... language model ... MLP"),
        (["clean=classification"], "^clean ... Text ... Clean"),
        (["evaluation=spatial"], "^evaluation.spatial ... TextData ... Spatial"),
    ],
)
def test_what_is_not_for_text_is_refused_in_one_line(
    overrides: list[str], message: str, text: Path, tmp_path: Path
) -> None:
    small = [
        each for each in SMALL if not each.startswith("model.") or "model=mlp" not in overrides
    ]
    small = [each for each in small if "clean.columns" not in each or "clean=" not in overrides[0]]
    given = ("dataset=text", f"dataset.root={text}", "method=next_word", *small, *overrides)
    config = compose(*given, f"out={tmp_path}", f"results={tmp_path}/results")
    run: Run = build(config)
    with pytest.raises(RunError, match=says(message)):
        run.execute(resolved(config), CHOICES)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=next_word"], "^method ... samples ... NextWord ... text"),
        (["model=awd_lstm"], "^model ... language model ... AwdLstm"),
        (["clean=perplexity"], "^clean ... Split ... Perplexity"),
        (["evaluation=dynamic"], "^evaluation.dynamic ... Data ... Dynamic"),
    ],
)
def test_what_is_for_text_is_refused_on_images(
    overrides: list[str], message: str, tmp_path: Path
) -> None:
    config = compose(
        *("dataset=digits", "model=wrn10_2", "runtime=cpu", *overrides),
        *(f"out={tmp_path}", f"results={tmp_path}/results"),
    )
    run: Run = build(config)
    with pytest.raises(RunError, match=says(message)):
        run.execute(resolved(config), CHOICES)
