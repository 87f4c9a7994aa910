"""Use a quarter of an hour on a GPU as well as possible, whatever fails.

The parts run in this order; each result is on disk as soon as it is known, and OUT/summary.md is
rewritten after every part:

    machine      devices, versions, what is missing
    steps        a few steps of every method, network and model in fp32, bf16, channels last,
                 compiled, and with CUDA graphs
    tests        pytest -m gpu
    pace         images per second of ERM in each form, against a bare loop and the floor
    concurrency  one, two and four processes at once, with and without CUDA MPS
    sweep        a sweep of small runs by hydra/launcher=gpus, several at a time
    runs         runs at the papers' protocol, in order of value, in the fastest form found; none
                 starts that cannot end in time
    figure5      mixup's Figure 5, if it can end in time
    carry        OUT/carry.txt, the list of what is worth copying from the machine

All computing is done in processes that are killed, with all that they started, when their time is
over. Run the same line again to continue: what was measured is kept, errors are tried again, and
unfinished runs resume from their checkpoints, also in a copy of OUT on another machine.

    python scripts/gpu.py --data FOLDER          holds CIFAR as published, or cifar100.npz
    python scripts/gpu.py --rehearse             all of it on a CPU, small
    python scripts/gpu.py --parts pace runs --budget 600

Without `make`: PYTHONPATH=src, and VICINAL_COMMIT=HASH if there is no .git.
"""

import argparse
from pathlib import Path

from gpu_session.parts import leave_on_sigterm, run
from gpu_session.session import Session


def main() -> None:
    """Run the parts."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--budget", type=float, default=780, help="seconds for everything")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="a folder")
    parser.add_argument("--data", type=Path, default=Path("data"), help="a folder with CIFAR")
    parser.add_argument("--parts", nargs="+", help="default: all")
    parser.add_argument(
        "--only", nargs="+", help="methods, networks, models to try and time; default: all"
    )
    parser.add_argument("--workers", type=int, help="for steps and tests; default: one per core")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with small networks")
    settings = parser.parse_args()
    session = Session(
        out=settings.out.absolute(),
        data=settings.data.absolute(),
        rehearse=settings.rehearse,
        only=settings.only,
        workers=settings.workers,
    )
    parts = session.parts()
    known = [part.name for part in parts]
    if unknown := set(settings.parts or ()) - set(known):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    chosen = [part for part in parts if part.name in (settings.parts or known)]
    leave_on_sigterm()
    run(chosen, session.out, settings.budget, session.write_summary)
    print((session.out / "summary.md").read_text())


if __name__ == "__main__":
    main()
