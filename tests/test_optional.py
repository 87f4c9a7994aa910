"""What extras install is not needed to plan, tabulate or train without it."""

import re
import subprocess
import sys

import pytest
from torch import nn

from vicinal.cli.configs import CONFIGS
from vicinal.methods.puzzlemix import PuzzleMix
from vicinal.vicinities.identity import Identity

EXTRAS = ("maxflow", "imagecorruptions", "pycocotools", "tensorboard", "optuna")
TARGETS = {
    target
    for path in CONFIGS.rglob("*.yaml")
    for target in re.findall(r"_target_: (vicinal[\w.]+)", path.read_text())
}


def test_every_class_of_a_config_is_imported_without_extras() -> None:
    assert "vicinal.methods.puzzlemix.PuzzleMix" in TARGETS
    lines = [
        "import sys",
        f"sys.modules |= dict.fromkeys({EXTRAS})",  # as if they were not installed
        "from hydra.utils import get_object",
        f"for target in {sorted(TARGETS)}: get_object(target)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_puzzle_mix_says_what_it_lacks_before_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicinal.methods.puzzlemix.find_spec", lambda _: None)
    with pytest.raises(ValueError, match="PyMaxflow"):
        PuzzleMix(Identity()).prepare(nn.Identity())
