"""Make the most of a quarter of an hour on a GPU, whatever fails on the way.

In this order, each result on disk as soon as it is known, and OUT/summary.md after every part:

    machine   devices, versions, what is missing
    steps     some steps of every method, network and model in fp32, bf16, channels last, compiled,
              and with CUDA graphs
    tests     pytest -m gpu
    pace      images a second of ERM in each form, against a bare loop and the floor
    crowd     one, two and four processes at once, with and without CUDA MPS
    runs      runs at the papers' protocol, in order of value, in the fastest form found; none is
              begun that cannot end
    figure5   mixup's Figure 5, if it can end
    carry     the list of what is worth carrying from the machine: OUT/carry.txt

What computes does so in processes that are killed with all that they started when their time is
over. The same line again goes on: what was measured is not measured again, errors are tried again,
and runs that were begun continue from their checkpoints, also in a copy of OUT on another machine.

    python scripts/gpu.py --data FOLDER          CIFAR there: as published, or cifar100.npz
    python scripts/gpu.py --rehearse             all of it on a CPU, small
    python scripts/gpu.py --parts pace runs --budget 600

Without `make`: PYTHONPATH=src, and VICINAL_COMMIT=HASH where there is no .git to tell it.
"""

import argparse
from pathlib import Path

from quarter.day import Day
from quarter.parts import leave_on_sigterm, run


def main() -> None:
    """Go through the parts."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--budget", type=float, default=780, help="seconds in which all ends")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="a folder")
    parser.add_argument("--data", type=Path, default=Path("data"), help="a folder with CIFAR")
    parser.add_argument("--parts", nargs="+", help="all, unless named")
    parser.add_argument(
        "--only", nargs="+", help="methods, networks, models that are tried and timed"
    )
    parser.add_argument("--workers", type=int, help="of steps and tests; a core each, unless given")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with small networks")
    settings = parser.parse_args()
    day = Day(
        out=settings.out.absolute(),
        data=settings.data.absolute(),
        rehearse=settings.rehearse,
        only=settings.only,
        workers=settings.workers,
    )
    parts = day.parts()
    known = [part.name for part in parts]
    if unknown := set(settings.parts or ()) - set(known):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    chosen = [part for part in parts if part.name in (settings.parts or known)]
    leave_on_sigterm()
    run(chosen, day.out, settings.budget, day.tell)
    print((day.out / "summary.md").read_text())


if __name__ == "__main__":
    main()
