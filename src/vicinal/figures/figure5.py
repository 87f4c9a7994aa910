"""mixup's Figure 5: GANs on two toy sets as training goes on, with and without mixup.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §3.7, Fig. 5
Code:     hongyi-zhang/mixup gan/example_gan.py at 80000ce; gan/images/gan_results.png there, which
          looks like the figure, is headed "mixup GAN (α = 0.2)": hence our default strength
Differs:  both versions of mixup (vicinal.tasks.gan.games) instead of one; numbers over seeds
          beside the pictures of one seed; iterations are counted from 1, the code's from 0
Cost:     about 0.1 s per iteration on one core of a server, so ten hours for 18 runs of 20,000; not
          measured on a GPU. A figure of fewer iterations is marked as reduced.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vicinal.figures import svg
from vicinal.figures.spread import over_seeds
from vicinal.storage.files import write_json_atomically
from vicinal.tasks.gan.coverage import GOOD_OF_REAL, HELD, WITHIN
from vicinal.tasks.gan.mixtures import MIXTURES
from vicinal.tasks.gan.runs import GAMES, POINTS, GanRun, Trained, trained

TITLE = "mixup, Figure 5: GANs on toy data"
COLUMNS = (10, 100, 1000, 10_000, 20_000)  # the steps that the paper's figure shows
SHOWN = 1000  # points of each kind in a panel, as in the code
LIMIT = 1.25  # of a panel; the code's is a quarter beyond the data
ROWS = {"vanilla": "no mixup", "code": "mixup (code)", "paper": "mixup (paper)"}
REAL, FAKE = "#2f81f7", "#f0883e"


@dataclass(frozen=True, kw_only=True)
class Figure5:
    """The settings of the figure."""

    steps: int = COLUMNS[-1]
    seeds: tuple[int, ...] = (0, 1, 2)
    strength: float = 0.2  # c of the code's mixup, α of the paper's
    device: str = "cpu"
    runs: Path = Path("runs/figures")  # where trained runs are kept

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not self.seeds or min(self.seeds) < 0 or len({*self.seeds}) < len(self.seeds):
            raise ValueError(f"seeds must be different and at least 0, got {list(self.seeds)}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength must be above 0 and at most 1, got {self.strength}")

    def make(self, out: Path) -> list[Path]:
        """Train what is missing, and write figure5.json and figure5.svg."""
        found = {run: trained(run, self.steps, self.runs, self.device) for run in self._runs()}
        out.mkdir(parents=True, exist_ok=True)
        files = [out / "figure5.json", out / "figure5.svg"]
        write_json_atomically(files[0], self._numbers(found))
        with svg.style():
            svg.save(self._drawn(found), files[1], TITLE, self._described(found))
        return files

    @property
    def reduced(self) -> str | None:
        """How this falls short of the paper's figure."""
        paper = COLUMNS[-1]
        return f"{self.steps:,} of the paper's {paper:,} iterations" if self.steps < paper else None

    def _run(self, data: str, game: str, seed: int) -> GanRun:
        return GanRun(data, game, 0.0 if game == "vanilla" else self.strength, seed)

    def _runs(self) -> list[GanRun]:
        """All runs seed by seed, so that the runs of a smaller figure come first."""
        return [self._run(d, g, seed) for seed in self.seeds for d in MIXTURES for g in GAMES]

    def _numbers(self, found: dict[GanRun, Trained]) -> dict[str, Any]:
        panels = [
            {"data": data, "reading": game, "iteration": step}
            | over_seeds([found[self._run(data, game, s)].measured(step) for s in self.seeds])
            for data in MIXTURES
            for game in GAMES
            for step in columns(self.steps)
        ]
        return {
            "figure": "mixup/figure5",
            "reduced": self.reduced,
            "seeds": list(self.seeds),
            "shown_seed": self.seeds[0],
            "measure": {
                "points": POINTS,
                "modes": {name: len(make().centres) for name, make in MIXTURES.items()},
                "good_within_std": WITHIN,
                "good_share_of_real_points": GOOD_OF_REAL,
                "held_share_of_fair_share": HELD,
            },
            "panels": panels,
            "runs": [
                run.settings() | {"seed": run.seed, "sessions": kept.record["sessions"]}
                for run, kept in found.items()
            ],
            "drawn_with": {"matplotlib": version("matplotlib")},
        }

    def _drawn(self, found: dict[GanRun, Trained]) -> Figure:
        """The first seed's points; a row for each dataset and game, a column per iteration."""
        steps = columns(self.steps)
        rows = [self._run(data, game, self.seeds[0]) for data in MIXTURES for game in GAMES]
        width, height = 1.0 + 1.15 * len(steps), 0.85 + 1.25 * len(rows)
        figure = Figure(figsize=(width, height))
        panels = figure.subplots(len(rows), len(steps), squeeze=False)
        figure.subplots_adjust(
            left=0.9 / width, right=0.995, top=1 - 0.7 / height, bottom=0.15 / height, hspace=0.14
        )
        note = f"\nreduced: {self.reduced}" if self.reduced else ""
        figure.suptitle(f"GANs on toy data after so many iterations{note}", fontsize=9)
        for row, run in zip(panels, rows, strict=True):
            row[0].set_ylabel(f"{run.data}\n{ROWS[run.game]}")
            for panel, step in zip(row, steps, strict=True):
                scattered(panel, found[run], step)
        for panel, step in zip(panels[0], steps, strict=True):
            panel.set_title(f"{step:,}", fontsize=8)
        return figure

    def _described(self, found: dict[GanRun, Trained]) -> str:
        """What the last column shows, in words."""
        said = []
        for data, make in MIXTURES.items():
            for game in GAMES:
                last = found[self._run(data, game, self.seeds[0])].measured(self.steps)
                said.append(
                    f"{data}, {ROWS[game]}: {last['modes_held']} of {len(make().centres)} modes "
                    f"held, energy distance {last['energy_distance']:.3g}"
                )
        return (
            "Real points (blue) and generated ones (orange) in small panels, a row for each data "
            "set and way of training, a column for each iteration. "
            f"At iteration {self.steps:,}, seed {self.seeds[0]}: {'; '.join(said)}."
        )


def columns(steps: int) -> list[int]:
    """The steps that a figure of `steps` iterations shows: the paper's, and the last."""
    return [*(step for step in COLUMNS if step < steps), steps]


def scattered(panel: Axes, kept: Trained, step: int) -> None:
    """One panel: real points, generated ones over them, modes held, and the energy distance."""
    for points, colour, size in ((kept.real, REAL, 2.5), (kept.snapshots[step], FAKE, 1.0)):
        x, y = points[:SHOWN].T.numpy()
        panel.scatter(x, y, s=size, c=colour, linewidths=0, rasterized=True)
    panel.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xticks=[], yticks=[], aspect="equal")
    panel.spines[:].set_color(svg.FAINT)
    panel.spines[:].set_linewidth(0.5)
    numbers = kept.measured(step)
    distance = numbers["energy_distance"]
    far = f"{distance:.2f}" if distance < 10 else f"{distance:.0f}"
    panel.set_xlabel(f"held {numbers['modes_held']}, distance {far}", fontsize=6, labelpad=1)
