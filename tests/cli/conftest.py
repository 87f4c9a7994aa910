"""The small configs that tests of the command line type against."""

from pathlib import Path

import pytest
from standins import write_configs


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_configs(tmp_path_factory.mktemp("configs"))
