"""The GANs behind a figure: trained once, kept under runs/, continued when more steps are asked.

A GAN has no schedule, so its first steps are the same whatever their number: a run of 2,000 steps
is the beginning of one of 20,000.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from time import monotonic
from typing import Any

from vicinal.draws import Rng, derived_seed
from vicinal.errors import RunError
from vicinal.storage.checkpoints import Checkpoints
from vicinal.storage.provenance import provenance
from vicinal.storage.records import digest
from vicinal.storage.run_folder import locked
from vicinal.tasks.gan.loop import GanLoop, Setup
from vicinal.tasks.gan.mixtures import MIXTURES, Points
from vicinal.tasks.gan.readings import CodeMixup, PaperMixup, Reading, Vanilla

COLUMNS = (10, 100, 1000, 10_000, 20_000)  # the steps that the paper's figure shows
SHORTER = (200, 500, 2000, 5000)  # kept too, for figures of fewer steps
POINTS = 2500
CHECKPOINT_SECONDS = 60.0
READINGS = ("vanilla", "code", "paper")


@dataclass(frozen=True)
class GanRun:
    """One of the figure's GANs, as it is named there."""

    data: str
    reading: str
    strength: float  # c of the code's reading, alpha of the paper's
    seed: int

    def setup(self) -> Setup:
        """What is trained."""
        return Setup(data=MIXTURES[self.data](), reading=self._reading())

    def settings(self) -> dict[str, Any]:
        """All of the setup, for the record and for the folder's name."""
        setup = self.setup()
        kept = {f.name: getattr(setup, f.name) for f in fields(setup)}
        return kept | {"data": self.data, "reading": repr(setup.reading)}

    def _reading(self) -> Reading:
        if self.reading == "code":
            return CodeMixup(c=self.strength)
        return PaperMixup(alpha=self.strength) if self.reading == "paper" else Vanilla()

    def folder(self, runs: Path) -> Path:
        """Where it is kept."""
        name = f"{self.data}-{self.reading}-{digest(self.settings())}"
        return runs / "gan" / name / f"seed{self.seed}"


@dataclass(frozen=True)
class Trained:
    """What a figure needs of a run."""

    snapshots: dict[int, Points]  # what the same noise became, by step
    real: Points
    sessions: list[dict[str, Any]]  # each start, and on what


def columns(steps: int) -> list[int]:
    """The steps that a run of so many is looked at: the paper's, and its last."""
    return [*(step for step in COLUMNS if step < steps), steps]


def trained(run: GanRun, steps: int, runs: Path, device: str) -> Trained:
    """Train to `steps` from wherever an earlier call stopped, which may be further on."""
    loop = GanLoop(run.setup(), run.seed, device)
    rng = Rng.seeded(derived_seed(run.seed, "snapshots"))  # fixed, and not of the training
    noise, real = loop.noise(POINTS, rng), loop.setup.data.sample(POINTS, rng)
    folder = run.folder(runs)
    with locked(folder):
        checkpoints = Checkpoints(folder / "checkpoints")
        kept = checkpoints.load() or {"snapshots": {}, "sessions": []}
        snapshots: dict[int, Points] = kept["snapshots"]
        if "loop" in kept:
            loop.restore(kept["loop"])
        if loop.steps_done < steps:
            session = {"from_step": loop.steps_done, **provenance(device)}
            kept["sessions"].append(session)
        elif steps not in snapshots:
            raise RunError(
                f"{folder} is past step {steps} and kept nothing there; it has "
                f"{', '.join(map(str, snapshots))} (choose one of these, or delete the folder)"
            )
        saved_at = monotonic()
        while loop.steps_done < steps:
            loop.step()
            if (done := loop.steps_done) in {*COLUMNS, *SHORTER, steps}:
                snapshots[done] = loop.generated(noise)
            if done == steps or monotonic() - saved_at >= CHECKPOINT_SECONDS:
                kept["sessions"][-1]["to_step"] = done
                checkpoints.save(0, done, kept | {"loop": loop.state()})
                saved_at = monotonic()
                print(f"at step {done:,} of {steps:,}: {folder}")
    return Trained({step: snapshots[step] for step in columns(steps)}, real, kept["sessions"])
