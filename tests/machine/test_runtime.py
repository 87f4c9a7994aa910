"""How a process is set up for a run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from wording import says

from vicinal.data.decode.pool import InProcessDecoder, WorkerPool
from vicinal.data.decode.select import decoder_for
from vicinal.machine.runtime import WORKSPACE, Runtime

FAULTS = """
import resource, torch
from vicinal.machine.runtime import Runtime
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
    assert decoder_for(Runtime(device="cpu")) == WorkerPool(workers)
    assert decoder_for(Runtime(device="cpu", workers=5)) == WorkerPool(5)
    assert decoder_for(Runtime(device="cpu", workers=0)) == InProcessDecoder()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There seems to be one; what a run sets for it is put back."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setenv(WORKSPACE, "to be put back")
    monkeypatch.delenv(WORKSPACE)
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = convolution


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True), (None, True)])
def test_fp32_on_a_gpu_is_fp32_whichever_way_torch_is_asked(
    precision: Literal["fp32", "tf32"] | None, tf32: bool
) -> None:
    Runtime(device="cuda", precision="fp32" if tf32 else "tf32").start()
    Runtime(device="cuda", precision=precision).start()
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    assert torch.backends.cuda.matmul.allow_tf32 == tf32
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert (torch.backends.cuda.matmul.fp32_precision == "tf32") == tf32
    assert (getattr(torch.backends.cudnn, "conv").fp32_precision == "tf32") == tf32  # noqa: B009
    with torch.backends.cudnn.flags(benchmark=False):  # reads what it will put back
        pass


@pytest.mark.usefixtures("gpu")
def test_determinism_is_of_the_run_that_asks_for_it() -> None:
    flags = []
    for asked in (False, True, False):
        Runtime(device="cuda", deterministic=asked).start()
        flags.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark))
        # Before the process's first matrix product, at which torch reads it, so by any run.
        assert os.environ[WORKSPACE] == ":4096:8"
    assert flags == [(False, True), (True, False), (False, True)]
    assert Runtime(device="cuda", deterministic=True).summary()["deterministic"]


@pytest.mark.usefixtures("gpu")
def test_a_workspace_that_does_not_repeat_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(WORKSPACE, ":16:8")
    Runtime(deterministic=True)
    monkeypatch.setenv(WORKSPACE, ":4096:2")
    Runtime()
    with pytest.raises(ValueError, match=says(f"deterministic ... {WORKSPACE} ... 4096")):
        Runtime(deterministic=True)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_compiles_unless_batchnorm_is_synchronised() -> None:
    summary = Runtime(device="cuda").summary()
    assert summary == {
        "precision": "bf16",
        "channels_last": True,
        "compile": True,
        "cuda_graphs": False,
        "deterministic": False,
        "sync_batchnorm": False,
        "decode": "cpu",
    }
    assert not Runtime(device="cuda", sync_batchnorm=True).summary()["compile"]
    assert not Runtime(device="cuda", compile=False).summary()["compile"]
    assert not Runtime(device="cpu").summary()["compile"]
