"""Networks of timm are measured as timm measures them."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data.transforms_factory import create_transform
from wording import says

from vicinal.commands import evaluate
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.own_splits import OwnSplits
from vicinal.evaluation.pretrained import folder_data, pretrained

NAME = "test_byobnet.r160_in1k"  # 160 x 160, bicubic, 1000 classes


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image for each of 1000 classes, of several sizes."""
    root, rng = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    for label in range(1000):
        height, width = rng.integers(20, 60, 2)
        pixels = rng.integers(256, size=(height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        folder = root / "val" / f"n{label:04d}"
        folder.mkdir(parents=True)
        Image.fromarray(pixels).resize((width, height)).save(folder / "1.png")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = timm.create_model(NAME.partition(".")[0], num_classes=1000)
    path = tmp_path_factory.mktemp("weights") / "drawn.safetensors"
    save_file(network.state_dict(), path)
    return path


def test_a_network_sees_the_images_of_timms_own_transform(images: Path, weights: Path) -> None:
    network, crop = pretrained(NAME, weights)
    data = folder_data(images, crop, network)
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(NAME).to_dict())
    transform = create_transform(**config, is_training=False)
    plain = timm.create_model(NAME.partition(".")[0], num_classes=1000).eval()
    plain.load_state_dict(load_file(weights))
    (x, y, _) = next(iter(data.test.batches([torch.tensor([0, 5, 900])])))
    assert y.tolist() == [0, 5, 900]
    for found, label in zip(x, y.tolist(), strict=True):
        whole = Image.open(images / "val" / f"n{label:04d}" / "1.png").convert("RGB")
        theirs = transform(whole)[None]
        ours = network.normalize(found[None].float() / 255)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
        with torch.no_grad():
            logits = network.eval()(found[None].float() / 255)
            torch.testing.assert_close(logits, plain(theirs), atol=1e-4, rtol=1e-4)


def test_results_of_a_network_are_kept_and_measured_once(
    images: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "found.json"
    line = f"--timm {NAME} --weights {weights} --data {images} --out {out} evaluation=clean"
    monkeypatch.setattr(sys, "argv", ["vicinal evaluate", *line.split(), "runtime=cpu"])
    evaluate.main()
    found = json.loads(out.read_bytes())
    ((name, entry),) = found["evaluations"].items()
    assert name.startswith("clean-published-")
    network, crop = pretrained(NAME, weights)
    expected = OwnSplits()(network, folder_data(images, crop, network), Rng.seeded(0))
    assert entry["metrics"] == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(OwnSplits, "__call__", None)
    evaluate.main()
    assert json.loads(out.read_bytes()) == found
    other = tmp_path / "other"
    (other / "n0").mkdir(parents=True)
    (other / "n0" / "1.png").write_bytes((images / "val" / "n0000" / "1.png").read_bytes())
    with pytest.raises(RunError, match=says("1000 ... 1")):
        folder_data(other, crop, network)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("evaluation=clean", "folders ... --table ... --timm"),
        ("--table mixup/table99", "mixup/table99 ... mixup/table2"),
        ("--table mixup/table2 --timm resnet18", "--table ... --timm"),
        ("evaluation=clean --timm resnet18", "--data"),
        ("evaluation=clean --timm resnet19 --data .", "resnet19 ... resnet18"),
    ],
)
def test_a_mistyped_network_is_told_in_one_line(
    typed: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vicinal evaluate", *typed.split()])
    with pytest.raises(SystemExit):
        evaluate.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says(f"^vicinal: ... {told}"), line), line
