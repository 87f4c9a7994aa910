"""Methods on spectrograms: what needs no pixels trains on them, the others are refused."""

from pathlib import Path

import pytest
import torch
from composing import compose
from speech_samples import files, folder
from wording import says

from vicinal.cli.configs import build
from vicinal.errors import RunError
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.training.trial import rehearse

TAKEN = (
    *("mixup", "label_smoothing", "gauss", "maxup_gauss", "maxup_cutout", "cutout", "cutmix"),
    *("manifold_mixup", "patchup_soft"),
)
REFUSED = (
    *("augmix", "augmax", "advmix", "advmax", "augmix_pgdat", "pgdat", "fat", "auto_augment"),
    *("gradaug", "gradaug_depth", "smooth_adv"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("speech"), files())


def loop(root: Path, *lines: str) -> Loop:
    speech = ("dataset=speech_commands", f"dataset.root={root}", "model=wrn10_2")
    machine = ("schedule.batch_size=3", "schedule.epochs=2", "runtime=cpu", "runtime.threads=1")
    run: Run = build(compose(*speech, *machine, *lines))
    return run.loop(run.dataset.load())


@pytest.mark.parametrize("method", TAKEN)
def test_a_method_without_pixels_trains_on_spectrograms(root: Path, method: str) -> None:
    trained = loop(root, f"method={method}")
    before = {name: value.clone() for name, value in trained.model.named_parameters()}
    next(iter(trained.steps()))
    after = dict(trained.model.named_parameters())
    assert all(value.isfinite().all() for value in after.values())
    assert sum(not torch.equal(before[name], after[name]) for name in after) >= 0.9 * len(after)


@pytest.mark.parametrize("method", REFUSED)
def test_a_method_that_needs_pixels_is_refused_in_one_line(root: Path, method: str) -> None:
    with pytest.raises(RunError, match=says("^method ... spectrograms ... pixels")) as caught:
        loop(root, f"method={method}")
    assert "\n" not in str(caught.value)
    assert "1 x 161 x 101" in str(caught.value)


@pytest.mark.parametrize("method", ["pgdat", "fat", "cutmix"])
def test_vectors_are_no_images_either(method: str) -> None:
    run: Run = build(compose("dataset=uci_iris", "model=mlp", f"method={method}", "runtime=cpu"))
    with pytest.raises(RunError, match=says("^method ... feature vectors ... images")):
        run.loop(run.dataset.load())


def test_puzzle_mix_needs_squares(root: Path) -> None:
    with pytest.raises(ValueError, match=says("square ... 161, 101")):
        rehearse(loop(root, "method=puzzlemix"))


@pytest.mark.parametrize("model", ["lenet_speech", "vgg11_speech"])
def test_the_networks_have_layers_to_mix_between(root: Path, model: str) -> None:
    """Of the layers that Manifold Mixup draws, the last: after the second stage."""
    trained = loop(root, f"model={model}", "method=manifold_mixup", "method.layers=[2]")
    rehearse(trained)
