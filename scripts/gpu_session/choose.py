"""What the measurements say: the form to train in, how many at once, and how long runs take."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_session.pool import Row, read, rows

Job = dict[str, Any]  # of the plan
LIKE = 0.02  # how far a form's first loss may be from that in fp32, as a share of it
MARGIN = 1.03  # on predictions
USUAL = "compiled"  # the form, if nothing is known
BUILDS = 60.0  # seconds before a network's first step, unless measured
FORWARD = 3.0  # an evaluation is this many times faster than training, per image


@dataclass(frozen=True)
class Concurrency:
    """How many runs at once, under MPS or not, and their pace together over that of one."""

    count: int = 1
    mps: bool = False
    gain: float = 1.0


@dataclass(frozen=True)
class Measured:
    """All results so far, by part and item; for runs, by run."""

    steps: Mapping[str, Row]
    pace: Mapping[str, Row]
    concurrency: Mapping[str, Row]
    runs: Mapping[str, Row]

    @classmethod
    def under(cls, out: Path) -> "Measured":
        """Read what is there."""
        steps, pace, concurrency = (
            dict(rows(out / name)) for name in ("steps", "pace", "concurrency")
        )
        return cls(steps, pace, concurrency, read(out / "runs.json") or {})

    def sound(self, network: str, form: str) -> bool:
        """Whether a form's steps ran and had the right losses, as far as is known."""
        item = f"network={network}.{form}"
        row, distance = self.steps.get(item, {}), difference(self.steps, item)
        failed = "error" in row and not row.get("late")
        return not failed and (distance is None or distance <= LIKE)

    def rates(self, network: str) -> dict[str, float]:
        """A network's images per second, by form, for the forms that may be used."""
        found = {}
        for item, row in self.pace.items():
            name, _, form = item.partition(".")
            if name == network and form != "bare" and "images_per_second" in row:
                if self.sound(network, form):
                    found[form] = row["images_per_second"]
        return found

    def fastest(self, network: str) -> str:
        """The form in which a network trains fastest."""
        known = self.rates(network)
        return max(known, key=lambda form: known[form]) if known else USUAL

    def concurrencies(self) -> list[Concurrency]:
        """Every number of runs at once that was timed, and always one."""
        paces = {
            (int(count), kind == "mps"): row["images_per_second"]
            for kind, counts in self.concurrency.items()
            for count, row in counts.items()
            if count.isdigit()
        }
        alone = paces.pop((1, False), None)
        if alone is None:
            return [Concurrency()]
        return [Concurrency(), *(Concurrency(*how, pace / alone) for how, pace in paces.items())]

    def together(self, job: Job, left: float) -> Concurrency:
        """The number at once that ends the most runs like this one in time; the fewest if equal."""

        def ended(runs: Concurrency) -> int:
            seconds = self.seconds(job, runs, job["epochs"])
            return 0 if seconds is None else runs.count * int(left / (MARGIN * seconds))

        return max(self.concurrencies(), key=lambda runs: (ended(runs), -runs.count))

    def seconds(self, job: Job, together: Concurrency, epochs: int) -> float | None:
        """How long that many epochs with evaluations take; None if the network was not timed."""
        model, method = job["name"].split("/")[1:3]
        form, known = self.fastest(model), self.rates(model)
        true = self.pace.get(f"{model}.epochs-{form}", {})
        builds = true.get("first_seconds", BUILDS)
        own = [
            row["seconds_per_epoch"]
            for row in self.runs.values()
            if row["name"].split("/")[1:3] == [model, method]
            and row.get("at_once") == together.count
            and "seconds_per_epoch" in row
        ]
        if own:
            return builds + epochs * max(own)
        if not known:
            return None
        train, evaluate = job["images"] / known[form], job["tested"] / known[form] / FORWARD
        if "train_seconds" in true:
            train, evaluate = max(train, true["train_seconds"]), true["evaluate_seconds"]
        each = train * max(1.0, job["over_erm"]) + evaluate
        return builds + epochs * each * together.count / together.gain


def difference(steps: Mapping[str, Row], item: str) -> float | None:
    """How far the first loss is from that in fp32, as a share of it; None if not measured."""
    exact, own = steps.get(f"{item.rpartition('.')[0]}.fp32", {}), steps.get(item, {})
    if "losses" not in exact or "losses" not in own:
        return None
    first = exact["losses"][0]
    return abs(own["losses"][0] - first) / max(abs(first), 1e-9)
