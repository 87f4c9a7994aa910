"""How a process is set up for a run."""

import os
import subprocess
import sys

import pytest

from vicinal.data.decoders import Here, Workers
from vicinal.runtime import Runtime

FAULTS = """
import resource, torch
from vicinal.runtime import Runtime
{setup}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    before = faults()
    torch.ones(1 << 24)
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about glibc's malloc")
def test_a_run_does_not_fault_its_activations_in_anew() -> None:
    counts = {}
    for setup in ("", "Runtime(device='cpu', threads=1).start()"):
        code = FAULTS.format(setup=setup)
        found = subprocess.run(
            [sys.executable, "-c", code], text=True, check=True, stdout=subprocess.PIPE
        )
        counts[setup] = int(found.stdout)
    plain, started = counts.values()
    assert started < plain / 10


@pytest.mark.parametrize(
    ("allowed", "ranks", "workers"), [(2, 1, 2), (96, 1, 16), (96, 8, 12), (4, 8, 1)]
)
def test_a_rank_has_a_worker_for_each_core_that_is_its_own(
    allowed: int, ranks: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    assert Runtime(device="cpu").decoder() == Workers(workers)
    assert Runtime(device="cpu", workers=5).decoder() == Workers(5)
    assert Runtime(device="cpu", workers=0).decoder() == Here()
