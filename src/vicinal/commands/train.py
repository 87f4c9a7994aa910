"""`vicinal train`: one run, a sweep of runs, or the runs of a table."""

import sys

from vicinal import train


def main() -> None:
    """Start what the command line asks for."""
    if {"-sc", "--shell-completion"} & {*sys.argv}:
        sys.argv[0] = "vicinal"  # the program whose lines a shell completes
    train.main()
