"""GPUs are those that nvidia-smi shows and CUDA_VISIBLE_DEVICES allows, by names for CUDA."""

import os
import stat
from pathlib import Path

import pytest

from vicinal.errors import RunError
from vicinal.launching.gpus import Gpu, Memory, gpus, memories, visible

FIRST, SECOND = "GPU-8a51ba21-3c6f", "GPU-8b00ffee-1111"
LISTED = f"0, {FIRST}, NVIDIA A100-SXM4-40GB, 40960, 40000\n1, {SECOND}, {{}}, 40960, 1200\n"
ALIKE = LISTED.format("NVIDIA A100-SXM4-40GB")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a program that stands for nvidia-smi; it shows two GPUs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    shows(tmp_path, ALIKE)
    return tmp_path


def shows(folder: Path, text: str, code: int = 0) -> None:
    program, said = folder / "nvidia-smi", folder / "said"
    said.write_text(text)
    program.write_text(f"#!/bin/sh\ncat {said}\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def chosen(words: str | None, **more: str) -> list[str]:
    environment = more if words is None else more | {"CUDA_VISIBLE_DEVICES": words}
    return [gpu.visible for gpu in gpus(environment)]


def test_a_gpu_is_known_by_its_uuid_name_and_memory(machine: Path) -> None:
    name = "NVIDIA A100-SXM4-40GB"
    expected = [
        Gpu(FIRST, name, 0, Memory(40960, 40000)),
        Gpu(SECOND, name, 1, Memory(40960, 1200)),
    ]
    assert gpus({}) == expected
    assert memories([expected[1], Gpu("MIG-1")]) == [Memory(40960, 1200), None]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (None, [FIRST, SECOND]),
        ("1,0", [SECOND, FIRST]),
        (" 1 ", [SECOND]),
        (SECOND, [SECOND]),
        ("GPU-8b,GPU-8a", [SECOND, FIRST]),
        ("", []),
        ("-1", []),
        ("0,-1,1", [FIRST]),
        ("MIG-1234,MIG-GPU-8a51ba21/1/0", ["MIG-1234", "MIG-GPU-8a51ba21/1/0"]),
    ],
)
def test_what_cuda_visible_devices_says(
    machine: Path, words: str | None, expected: list[str]
) -> None:
    assert chosen(words) == expected


@pytest.mark.parametrize("words", ["2", "GPU-8", "GPU-9", "first", "0,", "0,GPU-8a", "0,0"])
def test_a_word_that_names_no_gpu_or_two_is_refused(machine: Path, words: str) -> None:
    with pytest.raises(RunError, match=r"^CUDA_VISIBLE_DEVICES must name [^\n]*$"):
        chosen(words)


def test_numbers_of_different_gpus_need_an_order(machine: Path) -> None:
    shows(machine, LISTED.format("NVIDIA T4"))
    with pytest.raises(RunError, match=r"^CUDA_DEVICE_ORDER must be PCI_BUS_ID"):
        chosen("0")
    assert chosen("0", CUDA_DEVICE_ORDER="PCI_BUS_ID") == [FIRST]
    assert chosen(FIRST) == [FIRST]


def test_memory_that_is_not_told_is_unknown(machine: Path) -> None:
    shows(machine, f"0, {FIRST}, NVIDIA GB10, [N/A], [N/A]\n")
    assert [gpu.memory for gpu in gpus({})] == [None]


def test_no_nvidia_smi_or_no_device_is_no_gpu(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shows(machine, "No devices were found\n", code=6)
    assert gpus({}) == []
    monkeypatch.setenv("PATH", str(machine / "nowhere"))
    assert gpus({}) == []


def test_a_broken_driver_is_an_error_unless_no_gpu_is_wanted(machine: Path) -> None:
    shows(machine, "NVIDIA-SMI has failed because it couldn't communicate\nwith the driver.", 9)
    with pytest.raises(RunError, match=r"^nvidia-smi failed: NVIDIA-SMI has failed [^\n]*driver"):
        gpus({})
    assert chosen("") == []
    assert memories([Gpu(FIRST)]) == [None]  # a plan that has begun goes on


def test_a_launcher_takes_gpus_by_their_place(machine: Path) -> None:
    names = {"CUDA_VISIBLE_DEVICES": "1,0"}
    assert [gpu.visible for gpu in visible([1], names)] == [FIRST]
    assert visible(None, names) == gpus(names)
    for wrong in ([2], [-1], [0, 0]):
        with pytest.raises(RunError, match=r"^hydra.launcher.gpus must name .* got"):
            visible(wrong, names)
