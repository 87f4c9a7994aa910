"""The network of another finished run, on which adversarial examples are made."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from vicinal.cli.configs import build
from vicinal.data.dataset import RunData
from vicinal.errors import RunError
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.storage import weights
from vicinal.storage.starts import finished

RUNTIME = {"_target_": "vicinal.machine.runtime.Runtime"}  # in place of that of its training


@dataclass(frozen=True)
class Another:
    """A finished run in its folder. All ranks make the same calls; rank zero reads."""

    folder: Path
    record: dict[str, Any]

    @classmethod
    def at(cls, source: str, out: Path) -> "Another":
        """The run that a setting names: NAME/seed0 under `out`, or a folder."""
        return cls(*ranks.broadcast_object(lambda: finished(source, out, "source")))

    def summary(self, report: str) -> dict[str, Any]:
        """What a record says about it."""
        named = {key: self.record[key] for key in ("name", "seed")}
        return named | {"weights": self.record.get("weights", {}).get(report)}

    def network(self, report: str, data: RunData, runtime: Runtime) -> nn.Module:
        """Its network as it was at an epoch that papers report, for inputs like these data."""
        known, wanted = self.record["data"], data.summary()
        for key in ("num_classes", "shape"):
            if known[key] != wanted[key]:
                raise RunError(
                    f"source must have data of the same {key}, got {self.folder} "
                    f"({known[key]} and {wanted[key]})"
                )
        config = OmegaConf.create(self.record["config"])
        assert isinstance(config, DictConfig)
        config.update({"runtime": RUNTIME, "evaluation": {}})
        model = replace(build(config), runtime=runtime).build(data)
        kept = ranks.broadcast_object(lambda: weights.read(self.folder, self.record, report))
        model.load_state_dict(kept)  # its mean and std are among them
        return model
