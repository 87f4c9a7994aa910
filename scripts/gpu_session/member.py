"""One of several processes that share a device: `python -m gpu_session.member FOLDER NUMBER FORM`.

Builds, warms up and writes ready-NUMBER. Then reads lines `COUNT START SECONDS` from its input; for
each it trains from START (by the machine's clock) for so long and writes COUNT-NUMBER.json with its
images per second.
"""

import sys
import time
from functools import partial
from pathlib import Path

from benches import contenders
from benches.networks import known_networks
from benches.racing import now, prepared

from gpu_session.forms import forms
from gpu_session.pace import EFFORT, REHEARSAL
from gpu_session.tracing import trace_only
from vicinal.storage.files import write_json_atomically

STEPS = 10  # steps between looks at the clock, each of which waits for the device


def main() -> None:
    """Build, report that it is ready, and train on request."""
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
            images += sum(next(steps) for _ in range(STEPS))
            passed = now() - began
        write_json_atomically(Path(folder, f"{count}-{number}.json"), {"rate": images / passed})


if __name__ == "__main__":
    main()
