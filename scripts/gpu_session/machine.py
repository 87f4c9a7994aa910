"""Describe this machine in a JSON file: `python -m gpu_session.machine TARGET`."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from benches import nvidia

from vicinal.machine.cores import allowed_cores
from vicinal.machine.mps import CONTROL
from vicinal.storage.files import write_json_atomically
from vicinal.storage.provenance import provenance

# The modules that runs, benches and tests import.
NEEDED = (
    *("torchvision", "timm", "safetensors", "hydra", "omegaconf", "antlr4", "numpy", "sklearn"),
    *("PIL", "scipy", "rich", "jaxtyping", "matplotlib", "pytest", "xdist", "beartype"),
)


def main() -> None:
    """Write the file."""
    devices = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    write_json_atomically(
        Path(sys.argv[1]),
        {
            **provenance("cuda" if devices else "cpu"),
            "devices": [
                {
                    "name": each.name,
                    "capability": [each.major, each.minor],
                    "multiprocessors": each.multi_processor_count,
                    "bytes": each.total_memory,
                }
                for each in devices
            ],
            "driver": nvidia.query("name,driver_version,memory.total"),
            "allowed_cores": allowed_cores(),
            "mps": shutil.which(CONTROL),
            "compiler": shutil.which("gcc") or shutil.which("cc"),
            "missing": [name for name in NEEDED if find_spec(name) is None],
        },
    )


if __name__ == "__main__":
    main()
