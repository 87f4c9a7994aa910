"""Every logger of configs/logger keeps the contract."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vicinal.loggers.logger import Logger, numbers

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "logger").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_config_makes_a_logger(path: Path):
    assert isinstance(instantiate(OmegaConf.load(path), _convert_="all"), Logger)


def test_numbers_are_named_by_their_path_and_nothing_else_is_taken():
    metrics = {"last": {"top1": 93.4, "nll": 0.2}, "epoch": 3, "name": "x", "curve": [1.0, 2.0]}
    assert numbers(metrics, "final/") == {
        "final/last/top1": 93.4,
        "final/last/nll": 0.2,
        "final/epoch": 3,
    }
