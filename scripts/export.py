"""Export a finished run's network: python scripts/export.py runs/.../seed0 network.safetensors"""

import argparse
import sys
from pathlib import Path

from vicinal.errors import RunError
from vicinal.storage.export import export
from vicinal.storage.weights import REPORTS


def main() -> None:
    """Write the file and print how to load it."""
    parser = argparse.ArgumentParser(
        description="Write a finished run's network as safetensors, and print the line of Python "
        "that loads it; for networks of timm that needs timm only. The mean and std of its inputs "
        "are in the file's metadata.",
    )
    parser.add_argument("folder", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--reading", default="last", choices=REPORTS, help="which weights")
    arguments = parser.parse_args()
    try:
        print(export(arguments.folder, arguments.out, arguments.reading))
    except (RunError, ValueError, OSError) as error:
        sys.exit(f"export.py: {error}")


if __name__ == "__main__":
    main()
