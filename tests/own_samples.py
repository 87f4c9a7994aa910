"""A user's folder: a method, and a table of it beside ERM."""

from pathlib import Path
from typing import Any

import yaml

METHOD = """\
from dataclasses import dataclass

from torch.nn import functional as F

from vicinal.contracts import Method


@dataclass(frozen=True)
class Focal(Method):
    gamma: float = 2.0

    def __call__(self, model, x, y, rng):
        log = F.log_softmax(model(x), dim=1)
        yield -(y * (1 - log.exp()) ** self.gamma * log).sum(1).mean()
"""
RUN = (
    "dataset=digits dataset.size=8 dataset.train_per_class=9 model=wrn10_2 schedule.epochs=1 "
    "schedule.batch_size=90"
).split()
TREE: dict[str, Any] = {
    "caption": "Focal loss on digits",
    "seeds": [0, 1],
    "run": RUN,
    "columns": [
        {"label": "error", "measures": "error"},
        {"label": "best", "measures": "accuracy", "report": "best_test"},
    ],
    "rows": [
        {"label": "ERM", "run": ["method=erm"]},
        {"label": "focal", "run": ["method=focal"]},
    ],
    "claims": [{"better": "focal", "than": "ERM"}],
}


def write_table(folder: Path, name: str = "ablation", **changed: Any) -> Path:
    path = folder / "table" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(TREE | changed))
    return path


def write_folder(folder: Path) -> Path:
    """The folder that --config-dir names."""
    (folder / "method").mkdir(parents=True)
    (folder / "method" / "focal.yaml").write_text("_target_: focal_loss.Focal\ngamma: 2.0\n")
    (folder / "focal_loss.py").write_text(METHOD)
    write_table(folder)
    return folder
