"""Regenerate a figure of a paper: its numbers as JSON, and the figure as SVG.

    vicinal figures figure5                  # mixup's GANs; hours on a CPU
    vicinal figures figure5 --steps 2000     # shorter, and marked as reduced
    vicinal figures figure1b                 # mixup's toy classifier; half a minute

figure5 keeps its runs under --runs: when stopped, it resumes, and a longer figure continues from a
shorter one.
"""

import argparse
from pathlib import Path

import torch

from vicinal.cli.failures import one_line_errors
from vicinal.errors import RunError
from vicinal.figures.figure1b import Figure1b
from vicinal.figures.figure5 import Figure5


@one_line_errors()
def main() -> None:
    """Make one figure and print its paths."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    figures = parser.add_subparsers(dest="figure", required=True)
    for name, figure in (("figure5", Figure5), ("figure1b", Figure1b)):
        described = figure.make.__doc__
        options = figures.add_parser(
            name, help=described, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        options.add_argument("--seeds", type=numbers, default="0,1,2", help="separated by commas")
        options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        options.add_argument("--threads", type=int, default=1, help="CPU threads")
        options.add_argument("--out", type=Path, default=Path("runs/results/figures/mixup"))
    gans, classifier = figures.choices["figure5"], figures.choices["figure1b"]
    gans.add_argument("--steps", type=int, default=Figure5.steps, help="steps of the generator")
    gans.add_argument(
        "--strength",
        type=float,
        default=Figure5.strength,
        help="c in the code, alpha in the paper",
    )
    gans.add_argument("--runs", type=Path, default=Figure5.runs, help="keeps what was trained")
    classifier.add_argument("--epochs", type=int, default=Figure1b.epochs)
    chosen = vars(parser.parse_args())
    make = {"figure5": Figure5, "figure1b": Figure1b}[chosen.pop("figure")]
    torch.set_num_threads(chosen.pop("threads"))
    out = chosen.pop("out")
    if chosen["device"] == "cuda" and not torch.cuda.is_available():
        raise RunError("--device must be cpu here, got cuda (torch sees no CUDA device)")
    for path in make(**chosen).make(out):
        print(f"written: {path}")


def numbers(text: str) -> tuple[int, ...]:
    """Parse '0,1,2'."""
    return tuple(int(word) for word in text.split(","))
