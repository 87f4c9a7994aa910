"""GAN runs: trained once, recorded, and continued when more steps are asked for.

A GAN has no schedule, so its first steps do not depend on how many follow: a run of 2,000 steps is
the beginning of one of 20,000. A finished run therefore keeps its checkpoints.
"""

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vicinal.draws import Rng, derived_seed
from vicinal.errors import RunError
from vicinal.machine.signals import stopping
from vicinal.storage.provenance import provenance
from vicinal.storage.records import digest
from vicinal.storage.run_folder import RunFolder, locked, read_record, write_record
from vicinal.tasks.gan.coverage import coverage
from vicinal.tasks.gan.games import CodeMixup, Game, PaperMixup, Vanilla
from vicinal.tasks.gan.loop import GanLoop, Setup
from vicinal.tasks.gan.mixtures import MIXTURES, Points

# Steps whose points are kept, beside those of the last: the paper's, and some between them.
SNAPSHOTS = (10, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
POINTS = 2500  # per snapshot
CHECKPOINT_SECONDS = 60.0
GAMES = ("vanilla", "code", "paper")


@dataclass(frozen=True)
class GanRun:
    """One GAN, by the names of its data and its game."""

    data: str
    game: str
    strength: float  # c of the code's mixup, alpha of the paper's
    seed: int

    def setup(self) -> Setup:
        """What is trained."""
        return Setup(data=MIXTURES[self.data](), game=self._game())

    def settings(self) -> dict[str, Any]:
        """The whole setup as JSON; its digest identifies the run, up to the seed."""
        setup = self.setup()
        kept = {f.name: getattr(setup, f.name) for f in fields(setup)}
        return kept | {"data": self.data, "game": repr(setup.game)}

    def _game(self) -> Game:
        if self.game == "code":
            return CodeMixup(c=self.strength)
        return PaperMixup(alpha=self.strength) if self.game == "paper" else Vanilla()

    def origin(self) -> dict[str, Any]:
        """What a record says before any training: name, seed and config."""
        config = self.settings()
        name = f"gan/{self.data}-{self.game}-{digest(config)}"
        return {"id": digest(config), "name": name, "seed": self.seed, "config": config}

    def folder(self, runs: Path) -> Path:
        """Where the run is kept."""
        return runs / self.origin()["name"] / f"seed{self.seed}"


@dataclass(frozen=True)
class Trained:
    """A recorded run, and the points that its record measures."""

    record: dict[str, Any]
    snapshots: dict[int, Points]  # generated from the same noise, by step
    real: Points

    def measured(self, step: int) -> dict[str, Any]:
        """How well the points of a step cover the data, by measure."""
        return self.record["snapshots"][str(step)]


def trained(run: GanRun, steps: int, runs: Path, device: str) -> Trained:
    """Train to `steps` from wherever an earlier call stopped, which may be further on."""
    loop = GanLoop(run.setup(), run.seed, device)
    rng = Rng.seeded(derived_seed(run.seed, "snapshots"))  # fixed, and not of the training
    noise, real = loop.noise(POINTS, rng), loop.setup.data.sample(POINTS, rng)
    path = run.folder(runs)
    with locked(path):
        folder = RunFolder(path, CHECKPOINT_SECONDS, {"mixture": run.data})
        folder.resume(loop, provenance(device))
        if loop.steps_done < steps:
            _fit(loop, steps, noise, folder)
        elif steps not in loop.snapshots:
            raise RunError(
                f"{path} is past step {steps} and kept no points of it; it has those of "
                f"{', '.join(map(str, loop.snapshots))} (choose one of these, or delete the folder)"
            )
        record = read_record(path)
        if record is None or record["steps"] < loop.steps_done:
            record = _record(run, loop, real, folder)
            write_record(path, record)
    return Trained(record, loop.snapshots, real)


def _fit(loop: GanLoop, steps: int, noise: Float[Tensor, "n d"], folder: RunFolder) -> None:
    """To the last step, with a checkpoint whenever one is due and at the end."""
    with stopping() as stop:
        while loop.steps_done < steps:
            loop.step()
            if loop.steps_done in {*SNAPSHOTS, steps}:
                loop.snapshot(noise)
                print(f"at step {loop.steps_done:,} of {steps:,}: {folder.path}")
            folder.save_if_due(loop)
            stop.obey(
                partial(folder.save, loop), lambda: f"after step {loop.steps_done:,} of {steps:,}"
            )
    folder.save(loop)


def _record(run: GanRun, loop: GanLoop, real: Points, folder: RunFolder) -> dict[str, Any]:
    data = loop.setup.data
    return run.origin() | {
        "data": {"fingerprint": folder.fingerprint},
        "steps": loop.steps_done,
        "snapshots": {
            str(step): coverage(points, real, data).as_dict()
            for step, points in loop.snapshots.items()
        },
        "sessions": folder.sessions,
    }
