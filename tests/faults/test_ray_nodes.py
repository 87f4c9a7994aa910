"""A sweep on a Ray cluster of two nodes, one of which dies: nothing is lost or twice."""

import os
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from faults.runs import TINY
from forks import Fork
from launched import Launched, assert_nothing_lost_or_twice, histories, longer
from ray_nodes import Nodes, nodes

from vicinal.errors import StoppedByUserError

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray")

EPOCHS = 400
LINE = [
    *(word for word in TINY if "checkpoint_seconds" not in word and "epochs" not in word),
    *(f"schedule.epochs={EPOCHS}", "seed=0,1,2"),
]
BY_SIGNAL, OFTEN = "runtime.checkpoint_seconds=1e9", "runtime.checkpoint_seconds=0.2"


def disturb(
    cluster: Nodes, folder: Path, word: str, act: Callable[[Fork], None]
) -> tuple[int | None, str]:
    """Start the line on the cluster, and act while two of its runs train."""
    before = histories(folder)
    address = f"hydra.launcher.address={cluster.address}"
    sweep = Fork(["-m", "hydra/launcher=ray", address, *LINE, word], folder, os.environ)
    while len(set(longer(histories(folder), before)) - finished(folder)) < 2:
        assert sweep.poll() is None, sweep.communicate()
        time.sleep(0.01)
    act(sweep)
    out, err = sweep.communicate()
    return sweep.returncode, out + err


def finished(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.rglob("record.json")}


@pytest.mark.slow
@pytest.mark.usefixtures("interrupts")
def test_interrupted_and_with_a_node_less_the_same_line_goes_on(tmp_path: Path) -> None:
    disturbed, whole = tmp_path / "disturbed", tmp_path / "whole"
    for folder in (disturbed, whole):
        folder.mkdir()

    with nodes(2) as cluster:
        code, said = disturb(
            cluster, disturbed, BY_SIGNAL, lambda sweep: sweep.send_signal(signal.SIGINT)
        )
        assert code == StoppedByUserError.EXIT_CODE, said
        stopped = {path.parents[1].name for path in disturbed.rglob("*.pt")}
        assert stopped == histories(disturbed).keys() - finished(disturbed)
        assert stopped

        code, said = disturb(cluster, disturbed, OFTEN, lambda _: cluster.kill(0))
        assert code == 0, said

    logs = "".join(path.read_text() for path in disturbed.rglob("sweeps/*.log"))
    assert logs.count("resumed ") > len(stopped)  # and that whose node died
    sweep = Launched(LINE, whole)
    sweep.communicate()
    assert sweep.returncode == 0
    assert_nothing_lost_or_twice(disturbed, whole, EPOCHS)
