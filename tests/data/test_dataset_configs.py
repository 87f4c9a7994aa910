"""Every file in configs/dataset is the constructor call it claims to be; nothing is read here."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import get_object, instantiate

from vicinal.cli.configs import CONFIGS, compose
from vicinal.data.coco import Coco
from vicinal.data.dataset import Dataset
from vicinal.data.digits import digits
from vicinal.data.images import Images
from vicinal.data.language import Language
from vicinal.data.split import fingerprint
from vicinal.data.streamed_images import StreamedImages
from vicinal.data.uci import Uci

NAMES = sorted(path.stem for path in (CONFIGS / "dataset").glob("*.yaml"))
FILES = {
    "detection": "root=a/pets",
    "image_folder": "root=a/pets",
    "image_stream": "root=a/pets",
    "npz": "arrays=FILE",
    "tabular": "table=FILE",
    "text": "root=a/pets",
}
NO_SOURCE = (
    *("tabular", "npz", "image_stream", "imagenet", "imagenet_deepaugment"),
    "speech_commands",
)
NO_CONSTANTS = ("image_folder", "npz", "stl10")  # null: those of the training images


def built(name: str, tmp_path: Path) -> Dataset:
    np.savez(tmp_path / "my.npz")
    needed = FILES.get(name, "").replace("FILE", str(tmp_path / "my.npz"))
    given = [f"dataset.{needed}"] if needed else []
    config = compose(f"dataset={name}", *given).dataset
    parameters = inspect.signature(get_object(config["_target_"])).parameters
    assert set(config) - {"_target_"} == set(parameters)  # so that no override needs a +
    return instantiate(config, _convert_="all")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_built_and_named(name, tmp_path):
    dataset = built(name, tmp_path)
    assert isinstance(dataset, Dataset)
    others = {"image_folder": "pets", "image_stream": "pets", "npz": "my", "tabular": "my"}
    others |= {"text": "pets", "detection": "pets"}
    assert dataset.name == others.get(name, name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NO_SOURCE])
def test_its_source_is_there_to_be_called(name, tmp_path):
    dataset = built(name, tmp_path)
    assert isinstance(dataset, Images | Uci | Language | Coco)
    assert callable(dataset.source)
    if isinstance(dataset, Images):
        assert (dataset.mean is None) == (name in NO_CONSTANTS)
    elif isinstance(dataset, Uci):  # a reader of several file formats must know the values
        assert re.fullmatch("[0-9a-f]{32}", (dataset.canonical or {})["table"])


def test_digits_are_never_mirrored(tmp_path):
    for name in ("digits", "svhn"):
        dataset = built(name, tmp_path)
        assert isinstance(dataset, Images)
        assert not dataset.flip


def test_the_digits_are_the_original_and_normalised_by_their_own_statistics(tmp_path):
    data = built("digits", tmp_path).load()
    assert data.canonical is True
    assert data.train.x.shape == (1437, 3, 16, 16)
    assert data.train.x.double().mean().item() / 255 == pytest.approx(data.mean[0], abs=1e-4)
    assert data.train.x.double().std().item() / 255 == pytest.approx(data.std[0], abs=1e-4)
    assert data.fingerprint["train"] == fingerprint(digits(tmp_path)[0])


def test_imagenet_is_a_stream_of_known_counts(tmp_path):
    dataset = built("imagenet", tmp_path)
    assert isinstance(dataset, StreamedImages)
    assert (dataset.size, dataset.resize, dataset.test) == (224, 256, "val")
    assert dataset.known_size == {"classes": 1000, "train": 1_281_167, "test": 50_000}
