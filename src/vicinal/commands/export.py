"""Export a finished run's network: vicinal export runs/.../seed0 network.safetensors"""

import argparse
from pathlib import Path

from vicinal.cli.failures import one_line_errors
from vicinal.cli.own import importable
from vicinal.storage.export import export
from vicinal.storage.weights import REPORTS


@one_line_errors()
def main() -> None:
    """Write the file and print how to load it."""
    parser = argparse.ArgumentParser(
        description="Write a finished run's network as safetensors, and print the line of Python "
        "that loads it; for networks of timm that needs timm only. The mean and std of its inputs "
        "are in the file's metadata.",
    )
    parser.add_argument("folder", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--report", default="last", choices=REPORTS, help="which weights")
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="a folder with a network of your own"
    )
    arguments = parser.parse_args()
    if arguments.config_dir:
        importable(arguments.config_dir)
    print(export(arguments.folder, arguments.out, arguments.report))
