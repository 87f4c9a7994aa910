"""What the measurements say: the form to train in, how many at once, and how long a run takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quarter.pool import Row, read, rows

Job = dict[str, Any]  # of the plan
LIKE = 0.02  # as a share: how far a form's first loss may lie from that in fp32
MARGIN = 1.03  # of predictions
USUAL = "compiled"  # where nothing is known
BUILDS = 60.0  # seconds before a network's first step, where they were not measured
FORWARD = 3.0  # an evaluation is as many times as fast as training, by images


@dataclass(frozen=True)
class Crowd:
    """How many runs at once, by MPS or not, and how much faster all of them are than one."""

    count: int = 1
    mps: bool = False
    gain: float = 1.0


@dataclass(frozen=True)
class Measured:
    """All results so far, by part and item; those of runs by run."""

    steps: Mapping[str, Row]
    pace: Mapping[str, Row]
    crowd: Mapping[str, Row]
    runs: Mapping[str, Row]

    @classmethod
    def under(cls, out: Path) -> "Measured":
        """What lies there."""
        steps, pace, crowd = (dict(rows(out / name)) for name in ("steps", "pace", "crowd"))
        return cls(steps, pace, crowd, read(out / "runs.json") or {})

    def sound(self, network: str, form: str) -> bool:
        """Whether a form's steps went well and lost what they should, as far as is known."""
        item = f"network={network}.{form}"
        row, distance = self.steps.get(item, {}), apart(self.steps, item)
        failed = "error" in row and not row.get("late")
        return not failed and (distance is None or distance <= LIKE)

    def rates(self, network: str) -> dict[str, float]:
        """Images a second of a network in the forms that may be used, by form."""
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

    def crowds(self) -> list[Crowd]:
        """Every number of runs at once that was timed; one, whatever was."""
        paces = {
            (int(count), kind == "mps"): row["images_per_second"]
            for kind, counts in self.crowd.items()
            for count, row in counts.items()
            if count.isdigit()
        }
        alone = paces.pop((1, False), None)
        if alone is None:
            return [Crowd()]
        return [Crowd(), *(Crowd(*how, pace / alone) for how, pace in paces.items())]

    def together(self, job: Job, left: float) -> Crowd:
        """How many at once end the most runs like this one in so many seconds, or the fewest."""

        def ended(crowd: Crowd) -> int:
            each = self.seconds(job, crowd, job["epochs"])
            return 0 if each is None else crowd.count * int(left / (MARGIN * each))

        return max(self.crowds(), key=lambda crowd: (ended(crowd), -crowd.count))

    def seconds(self, job: Job, together: Crowd, epochs: int) -> float | None:
        """Of so many epochs, each with its evaluation; None where the network was not timed."""
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


def apart(steps: Mapping[str, Row], item: str) -> float | None:
    """How far the first loss lies from that in fp32, as a share of it."""
    exact, own = steps.get(f"{item.rpartition('.')[0]}.fp32", {}), steps.get(item, {})
    if "losses" not in exact or "losses" not in own:
        return None
    first = exact["losses"][0]
    return abs(own["losses"][0] - first) / max(abs(first), 1e-9)
