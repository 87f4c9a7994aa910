"""One of several processes at once on one device: `python -m quarter.member FOLDER NUMBER FORM`.

Builds, warms up and leaves ready-NUMBER. Then, for each COUNT that it is asked on its input:
`COUNT START SECONDS` (by the clock of the machine): trains from START on for so long, and leaves
COUNT-NUMBER.json with its images a second.
"""

import sys
import time
from functools import partial
from pathlib import Path

from benches import contenders
from benches.networks import known_networks
from benches.racing import now, prepared

from quarter.forms import forms
from quarter.pace import EFFORT, REHEARSAL
from quarter.tracing import trace_only
from vicinal.storage.files import write_json_atomically

TOGETHER = 10  # steps between two looks at the clock, each of which waits for the device


def main() -> None:
    """Build, say so, and train whenever asked."""
    folder, number, form, *flags = sys.argv[1:]
    rehearse = "--rehearse" in flags
    if rehearse:
        trace_only()
    network = known_networks(rehearse)[0]
    run = network.run(forms(rehearse)[form].split())
    data = network.whole_batches(network.data(run.runtime.target))
    effort = REHEARSAL if rehearse else EFFORT
    ready = prepared(partial(contenders.ours, run, data), effort)
    steps = ready.contender.steps()
    Path(folder, f"ready-{number}").touch()
    for line in sys.stdin:
        count, start, seconds = line.split()
        time.sleep(max(0.0, float(start) - time.time()))
        images, passed, began = 0, 0.0, now()
        while passed < float(seconds):
            images += sum(next(steps) for _ in range(TOGETHER))
            passed = now() - began
        write_json_atomically(Path(folder, f"{count}-{number}.json"), {"rate": images / passed})


if __name__ == "__main__":
    main()
