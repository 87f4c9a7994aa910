"""Export a finished run's network, and print the lines of Python that load it.

vicinal export runs/.../seed0 network.safetensors    # one file
vicinal export runs/.../seed0 network                # a folder for the Hugging Face Hub
"""

import argparse
from pathlib import Path

from vicinal.cli.failures import one_line_errors
from vicinal.cli.own import importable
from vicinal.storage.export import export
from vicinal.storage.weights import REPORTS


@one_line_errors()
def main() -> None:
    """Write the file or folder."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("folder", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, help="a .safetensors file, or a folder with a model card")
    parser.add_argument("--report", default="last", choices=REPORTS, help="which weights")
    parser.add_argument(
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="a folder with code of your own",
    )
    arguments = parser.parse_args()
    if arguments.config_dir:
        importable(arguments.config_dir)
    print(export(arguments.folder, arguments.out, arguments.report))
