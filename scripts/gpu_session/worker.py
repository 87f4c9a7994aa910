"""A worker: `python -m gpu_session.worker steps|pace FOLDER [--rehearse]`, items on its input.

Writes FOLDER/ITEM.json for each: the measurement, or the error and the last lines of its traceback.
"""

import sys
import traceback
from pathlib import Path

import torch
from benches.racing import one_line, release

from gpu_session import pace, steps
from gpu_session.processes import TAIL
from gpu_session.tracing import trace_only
from vicinal.storage.files import write_json_atomically

KINDS = {"steps": steps.measure, "pace": pace.measure}


def main() -> None:
    """Measure item by item, until there are no more."""
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
            sys.exit(1)  # nothing works on the device in this process any more
        torch.compiler.reset()
        release()


def broken_context(error: Exception) -> bool:
    """Whether the device itself failed, rather than its memory being too small."""
    failed = isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
    return failed and not isinstance(error, torch.OutOfMemoryError)


if __name__ == "__main__":
    main()
