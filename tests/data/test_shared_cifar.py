"""The lossless CIFAR-100 in ../shared/data is known for the original, in its own order."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from vicinal.data.split import Split, fingerprint

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_the_test_images_have_the_fingerprint_of_the_config():
    decode = runpy.run_path(str(SHARED / "decode.py"))["images"]
    x = torch.from_numpy(decode(SHARED / "cifar100" / "test-0.xz"))
    y = torch.from_numpy(np.fromfile(SHARED / "cifar100" / "test-labels.u8", np.uint8)).long()
    config = yaml.safe_load((ROOT / "configs" / "dataset" / "cifar100.yaml").read_text())
    assert fingerprint(Split(x, y)) == config["canonical"]["test"]
