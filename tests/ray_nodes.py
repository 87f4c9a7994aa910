"""A Ray cluster on this machine, in a process of its own: a head that runs nothing, and nodes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OF_EACH = {"object_store_memory": 80 * 2**20}
DETECTION = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}


class Nodes:
    """Where the cluster is, and how its nodes die."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.address = self._line()

    def kill(self, number: int) -> None:
        """End a node as a crash does."""
        assert self._process.stdin is not None
        print(number, file=self._process.stdin, flush=True)
        assert self._line() == "killed"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    """So many nodes with one CPU each."""
    path = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen(
        [sys.executable, __file__, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    with process:
        yield Nodes(process)
        assert process.stdin is not None
        process.stdin.close()


def serve(count: int) -> None:
    """Start the cluster, kill the nodes whose numbers are read, and shut it down."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports] # noqa: PLC0415

    cluster = Cluster()
    options = {"include_dashboard": False, "_system_config": DETECTION}
    cluster.add_node(num_cpus=0, num_gpus=0, **options, **OF_EACH)
    made = [cluster.add_node(num_cpus=1, num_gpus=0, **OF_EACH) for _ in range(count)]
    print(cluster.address, flush=True)
    for line in sys.stdin:
        cluster.remove_node(made[int(line)], allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
