"""A worker: `python -m quarter.worker steps|pace FOLDER [--rehearse]`, items on its input.

Leaves FOLDER/ITEM.json for each: what was measured, or the error and its traceback's last lines.
"""

import sys
import traceback
from pathlib import Path

import torch
from benches.racing import one_line, release

from quarter import pace, steps
from quarter.processes import TAIL
from quarter.tracing import trace_only
from vicinal.storage.files import write_json_atomically

KINDS = {"steps": steps.measure, "pace": pace.measure}


def main() -> None:
    """Item by item, until there are no more."""
    kind, folder, *flags = sys.argv[1:]
    rehearse = "--rehearse" in flags
    if rehearse:
        trace_only()
    for line in sys.stdin:
        item = line.strip()
        print(f"{item} ...", flush=True)
        broken = False
        try:
            row = KINDS[kind](item, Path(folder), rehearse)
        except Exception as error:
            lines = traceback.format_exc().splitlines()[-TAIL:]
            row = {"error": one_line(error), "tail": "\n".join(lines)}
            broken = broken_context(error)
        write_json_atomically(Path(folder, f"{item}.json"), row)
        if broken:
            sys.exit(1)  # after which nothing works on the device in this process
        torch.compiler.reset()
        release()


def broken_context(error: Exception) -> bool:
    """Whether the device itself failed, and not merely had too little memory."""
    failed = isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
    return failed and not isinstance(error, torch.OutOfMemoryError)


if __name__ == "__main__":
    main()
