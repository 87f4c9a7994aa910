"""Measure speed; each bench writes one JSON file under runs/results/bench.

python scripts/bench.py steps                a training step of every method, on this machine
python scripts/bench.py gpu --budget 3000    training on a GPU
python scripts/bench.py loader               decoding of an image folder
python scripts/bench.py chains               AugMix images
python scripts/bench.py evaluations          a test set, against a bare loop
python scripts/bench.py corruptions          corrupted test images
python scripts/bench.py attacks              attacks, against the passes that they need
python scripts/bench.py certificates         noisy copies, against bare forward passes
python scripts/bench.py words                language models, against a bare loop
python scripts/bench.py launches             operations of a training step of every method
python scripts/bench.py ranks                two ranks, and accumulated gradients
python scripts/bench.py growth               how costs grow with batches, plans, records, …
python scripts/bench.py fill                 a plan of runs side by side, killed on the way
python scripts/bench.py waiting              start of a run, tables, plans and the report
python scripts/bench.py gpu --help           what a bench compares, and its options
"""

import argparse
from pathlib import Path

from benches import (
    attacks,
    certificates,
    chains,
    corruptions,
    evaluations,
    fill,
    gpu,
    growth,
    launches,
    loader,
    ranks,
    steps,
    waiting,
    words,
)

BENCHES = {
    "steps": steps,
    "gpu": gpu,
    "loader": loader,
    "chains": chains,
    "evaluations": evaluations,
    "corruptions": corruptions,
    "attacks": attacks,
    "certificates": certificates,
    "words": words,
    "launches": launches,
    "ranks": ranks,
    "growth": growth,
    "fill": fill,
    "waiting": waiting,
}


def main() -> None:
    """Run one bench."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, bench in BENCHES.items():
        text = bench.__doc__ or ""
        first_line = text.splitlines()[0]
        options = kinds.add_parser(name, help=first_line, description=text, formatter_class=form)
        options.add_argument(
            "--out", type=Path, default=Path("runs/results/bench"), help="a folder"
        )
        bench.add_options(options)
    arguments = parser.parse_args()
    BENCHES[arguments.what].bench(arguments)


if __name__ == "__main__":
    main()
