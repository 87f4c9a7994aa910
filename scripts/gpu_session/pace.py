"""Images per second, one after the other in one process: items are NETWORK.CONTENDER, or `peaks`.

A contender is a form of the suite's own loop under ERM, `bare` (a loop like that of the papers'
scripts), or `epochs-FORM`: whole epochs with their evaluation. The benches say how each is built
and what the floor is; `peaks` must come first, because shares of the floor need it.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benches import contenders
from benches.floors import peaks
from benches.judging import shared
from benches.networks import known_networks
from benches.racing import Contender, Effort, Row, prepared, summary, window

from gpu_session.forms import EAGER, forms
from gpu_session.pool import read

WINDOWS = 2
EFFORT = Effort(rounds=WINDOWS, window=0.5, warmup=20, deadline=float("inf"))
REHEARSAL = Effort(rounds=WINDOWS, window=0.0, warmup=2, deadline=float("inf"))


def items(rehearse: bool) -> list[str]:
    """The first network in every form, then the others in the fast ones, and their bare loops."""
    first, *others = [network.name for network in known_networks(rehearse)]
    fast = [form for form in forms(rehearse) if form not in EAGER]
    return [
        "peaks",
        *(f"{first}.{form}" for form in reversed(forms(rehearse))),
        f"{first}.bare",
        *(f"{name}.{form}" for name in others for form in fast),
        *(f"{name}.bare" for name in others),
    ]


def measure(item: str, folder: Path, rehearse: bool) -> Row:
    """Measure one item."""
    if item == "peaks":
        return peaks("cpu" if rehearse else "cuda")
    name, _, contender = item.partition(".")
    (network,) = [each for each in known_networks(rehearse) if each.name == name]
    form = contender.removeprefix("epochs-")
    known = forms(rehearse)
    run = network.run(known.get(form, known["fp32"]).split())
    data = network.data(run.runtime.target)
    if contender != form:
        return contenders.whole_epochs(run, data, count=2)
    whole, workers = network.whole_batches(data), 1 if rehearse else 8
    make = partial(contenders.ours, run, whole)
    if contender == "bare":
        make = partial(contenders.bare, run, whole, network.images, workers)
    row = timed(make, REHEARSAL if rehearse else EFFORT)
    found = read(folder / "peaks.json") or {}
    work = network.work(run)
    return shared(row, work, network.batch, {} if "error" in found else found) | {
        "batch": network.batch,
        "work": asdict(work),
    }


def timed(make: Callable[[], Contender], effort: Effort) -> Row:
    """Time a contender's windows right after its warm-up."""
    ready = prepared(make, effort)
    return ready.row | summary([window(ready) for _ in range(effort.rounds)])
