"""How a process is set up for a run."""

import subprocess
import sys

import pytest

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
