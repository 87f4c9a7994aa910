"""mixup's Figure 1b: p(y = 1 | x) of a network trained on toy data, without and with mixup.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §2, Fig. 1b (α = 1; it names neither
          the data nor the network)
Code:     none released
Differs:  data (two noisy circles), network (two hidden layers of 128 ReLU units, those of §3.6) and
          training (Adam, 100 epochs, batches of 16) are our choice; numbers beside the picture
Cost:     about 5 seconds per run on one core of a server, two runs per seed
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from vicinal.data.batches import Batches
from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.draws import Rng, derived_seed
from vicinal.evaluation.clean import Clean
from vicinal.figures import svg
from vicinal.figures.circles import circles
from vicinal.figures.spread import over_seeds
from vicinal.figures.transition import probability, transition
from vicinal.loop import Loop
from vicinal.machine.runtime import Runtime
from vicinal.methods.erm import Erm
from vicinal.models.mlp import MLP
from vicinal.models.normalized import Normalized
from vicinal.optim import Adam
from vicinal.schedules import Constant, Schedule
from vicinal.storage.files import write_json_atomically
from vicinal.storage.provenance import provenance
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

TITLE = "mixup, Figure 1b: from class to class"
EPOCHS, BATCH, WIDTH, HIDDEN_LAYERS, RATE = 100, 16, 128, 2, 1e-3
METHODS = {"ERM": Erm(Identity()), "mixup": Erm(Mixup(alpha=1.0))}
CLASSES = ("#1a7f37", "#d4620a")  # green and orange, as in the paper
LIMIT, PIXELS = 1.5, 150


@dataclass(frozen=True, kw_only=True)
class Figure1b:
    """The settings of the figure."""

    epochs: int = EPOCHS
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        if not self.seeds or min(self.seeds) < 0 or len({*self.seeds}) < len(self.seeds):
            raise ValueError(f"seeds must be different and at least 0, got {list(self.seeds)}")

    def make(self, out: Path) -> list[Path]:
        """Train, measure, and write figure1b.json and figure1b.svg."""
        numbers = {name: [] for name in METHODS}
        drawn: dict[str, nn.Module] = {}
        for seed in self.seeds:
            data = circles(seed)
            for name in METHODS:
                model = self._trained(name, data, seed)
                numbers[name].append(measured(model, data, seed))
                drawn.setdefault(name, model)  # the first seed's
        spread = {name: over_seeds(found) for name, found in numbers.items()}
        out.mkdir(parents=True, exist_ok=True)
        files = [out / "figure1b.json", out / "figure1b.svg"]
        write_json_atomically(files[0], self._numbers(spread))
        with svg.style():
            train = circles(self.seeds[0]).train
            assert isinstance(train, Split)  # as circles makes them
            figure = self._drawn(drawn, train, spread)
            svg.save(figure, files[1], TITLE, described(spread))
        return files

    @property
    def reduced(self) -> str | None:
        """How this falls short of our own default; the paper states no budget."""
        return f"{self.epochs} of {EPOCHS} epochs" if self.epochs < EPOCHS else None

    def _trained(self, name: str, data: Data, seed: int) -> nn.Module:
        """Train with the ordinary loop in float32; the network ends on the CPU."""
        runtime = Runtime(device="cuda" if self.device == "cuda" else "cpu", precision="fp32")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "torch"))
            body = MLP(WIDTH, HIDDEN_LAYERS, num_classes=data.num_classes, shape=(2,))
        train = data.train.to(runtime.target)
        loop = Loop(
            runtime.place(Normalized(body, data.mean, data.std)),
            METHODS[name],
            Batches(train, data.num_classes, BATCH, Identity(), seed),
            optimizer=Adam(lr=RATE),
            schedule=Schedule(epochs=self.epochs, batch_size=BATCH, curve=Constant()),
            runtime=runtime,
            rng=Rng.seeded(seed, device=runtime.target),
        )
        for _ in range(self.epochs):
            for _ in loop.steps():
                pass
            loop.close_epoch()
        return loop.network.cpu()

    def _numbers(self, spread: dict[str, Any]) -> dict[str, Any]:
        return {
            "figure": "mixup/figure1b",
            "reduced": self.reduced,
            "seeds": list(self.seeds),
            "config": {
                "epochs": self.epochs,
                "batch_size": BATCH,
                "width": WIDTH,
                "hidden_layers": HIDDEN_LAYERS,
                "lr": RATE,
                "methods": {name: repr(method) for name, method in METHODS.items()},
            },
            "methods": spread,
            "origin": provenance(self.device),
            "drawn_with": {"matplotlib": version("matplotlib")},
        }

    def _drawn(self, models: dict[str, nn.Module], train: Split, spread: dict[str, Any]) -> Figure:
        figure = Figure(figsize=(5.4, 3.2))
        panels = figure.subplots(1, len(models))
        figure.subplots_adjust(left=0.02, right=0.98, top=0.84, bottom=0.1, wspace=0.05)
        note = f", reduced: {self.reduced}" if self.reduced else ""
        figure.suptitle(f"p(y = 1 | x), from white (0) to blue (1){note}", fontsize=9)
        for panel, (name, model) in zip(panels, models.items(), strict=True):
            shaded(panel, model, train)
            panel.set_title(name, fontsize=8)
            gap, steepest = (spread[name][key]["mean"] for key in ("gap", "steepest"))
            panel.set_xlabel(f"gap to linear {gap:.2f}, steepest {steepest:.1f}", fontsize=7)
        return figure


def measured(model: nn.Module, data: Data, seed: int) -> dict[str, float]:
    """Measure the transition between test points of the classes, and accuracy in percent."""
    assert isinstance(data.test, Split)
    between = transition(model, data.test, Rng.seeded(derived_seed(seed, "pairs")))
    return between.as_dict() | {"test_top1": Clean()(model, data.test)["top1"]}


def shaded(panel: Axes, model: nn.Module, train: Split) -> None:
    """Draw the probability over the plane, and the training points."""
    side = torch.linspace(-LIMIT, LIMIT, PIXELS)
    p = probability(model, torch.cartesian_prod(side, side)).view(PIXELS, PIXELS).T
    extent = (-LIMIT, LIMIT, -LIMIT, LIMIT)
    panel.imshow(p.numpy(), origin="lower", extent=extent, cmap="Blues", vmin=0, vmax=1)
    for label, colour in enumerate(CLASSES):
        x, y = train.x[train.y == label].T.numpy()
        panel.scatter(x, y, s=5, c=colour, linewidths=0, rasterized=True)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_color(svg.FAINT)


def described(spread: dict[str, Any]) -> str:
    """What the two panels show, in words."""
    said = [
        f"{name}: gap to a linear transition {numbers['gap']['mean']:.2f}, steepest slope "
        f"{numbers['steepest']['mean']:.1f}, test accuracy {numbers['test_top1']['mean']:.1f} %"
        for name, numbers in spread.items()
    ]
    return (
        "Two panels with the points of two classes, green on an outer circle and orange on an "
        "inner one, over blue shading that is the deeper the more probable the inner class is. "
        f"Means over seeds; {'; '.join(said)}."
    )
