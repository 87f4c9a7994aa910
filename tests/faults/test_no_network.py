"""A wandb server that cannot be reached costs a run nothing."""

import os
from pathlib import Path

import pytest
from faults.runs import TINY, assert_same_outcome, finish, log


@pytest.mark.slow
@pytest.mark.parametrize(("key", "said"), [("a" * 40, "the run goes on"), (None, "offline")])
def test_without_network(key: str | None, said: str, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def prepare() -> None:
        os.environ["WANDB_BASE_URL"] = "http://127.0.0.1:9"
        os.environ |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
        os.environ |= {"WANDB_API_KEY": key} if key else {}

    finish([*TINY, "logger=wandb", "logger.timeout_seconds=1"], out, prepare)
    assert said in log(out)
    assert_same_outcome(out, whole)
