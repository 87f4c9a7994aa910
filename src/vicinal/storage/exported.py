"""What an export of a finished run holds, and the lines of Python that load it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from vicinal.contracts import Detector, LanguageModel
from vicinal.errors import RunError
from vicinal.models.init import without_weights
from vicinal.models.normalized import Normalized
from vicinal.models.timm import Timm
from vicinal.storage import weights
from vicinal.storage.loading import COUNTER, MOMENTS, Description, of_run, prefix_of
from vicinal.storage.run_folder import read_record

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Exported:
    """A run's network as it was evaluated (the average of its weights, if it kept one).

    The tensors have the names of the network without normalisation, of which the metadata hold mean
    and std. `plain` is that network without its method's changes, on the meta device.
    """

    record: Mapping[str, Any]
    report: str
    tensors: Mapping[str, Tensor]
    moments: Mapping[str, list[float]]  # mean and std of its inputs, if it normalises them
    plain: nn.Module
    timm: Timm | None  # `plain`, if timm can load it and then computes the same

    @classmethod
    def of_run(cls, folder: Path, report: str) -> "Exported":
        """Read the weights of a finished run."""
        if (record := read_record(folder)) is None:
            raise RunError(f"{folder} holds no finished run")
        kept = weights.read(folder, record, report)
        names = {name: f"normalize.{name}" for name in MOMENTS if f"normalize.{name}" in kept}
        moments = {name: kept.pop(key).tolist() for name, key in names.items()}
        thawed = _thawed(Description.by_record(record))
        with without_weights():
            plain = thawed.body()
        prefix = prefix_of(Normalized(plain, (0.0,), (1.0,))) if moments else ""
        tensors = {name.removeprefix(prefix): value for name, value in kept.items()}
        tensors |= _counters(tensors)
        timm = None
        if isinstance(plain, Timm) and tensors.keys() == plain.network.state_dict().keys():
            network = of_run(folder, record, report)
            timm = plain if _computes(thawed, tensors, network) else None
        return cls(record, report, tensors, moments, plain, timm)

    @property
    def epoch(self) -> int:
        """Of these weights."""
        return self.record["weights"][self.report]["epoch"]

    @property
    def changed(self) -> bool:
        """Whether the method changed the network."""
        if isinstance(self.plain, Timm):
            return self.timm is None
        return self.tensors.keys() != self.plain.state_dict().keys()

    @property
    def about(self) -> dict[str, Any]:
        """The run, and what it takes to build the network."""
        run = {"name": self.record["name"], "report": self.report, "epoch": self.epoch}
        return run | Description.by_record(self.record).about() | dict(self.moments)

    def content(self) -> bytes:
        """The exported file."""
        words = {
            key: each if isinstance(each, str) else json.dumps(each)
            for key, each in self.about.items()
        }
        return save(dict(self.tensors), {"format": "pt", **words})

    def takes(self) -> str:
        """What the network takes, and what it makes of it."""
        if isinstance(self.plain, LanguageModel):
            return "numbers of words in, logits of the next words out"
        if isinstance(self.plain, Detector):
            return "photos in [0, 1] in, the objects found out"
        if len(self.record["data"]["shape"]) == 3:
            return "images in [0, 1] in, logits out"
        return "feature vectors in, logits out"

    def lines(self, path: Path) -> list[str]:
        """The lines of Python, each on its own, that load it from a file or folder."""
        ours = f"import vicinal; network = vicinal.load({str(path)!r})  # {self.takes()}"
        if self.timm is None:
            return [ours]
        given = {**self.timm.arguments, "checkpoint_path": str(path)}
        call = f"{self.record['config']['model']['name']!r}, {_call(given)}"
        if path.suffix != SUFFIX:
            call = f"{f'local-dir:{path}'!r}, pretrained=True"
        mean, std = (tuple(round(v, 6) for v in self.moments[name]) for name in MOMENTS)
        theirs = f"import timm; network = timm.create_model({call}).eval()"
        return [ours, f"{theirs}  # takes (images - {mean}) / {std}"]


def _thawed(described: Description) -> Description:
    """The network with ordinary BatchNorms where they were frozen."""
    model = described.config["model"]
    if "freeze_norms" not in model:
        return described
    return replace(described, config={**described.config, "model": model | {"freeze_norms": False}})


def _computes(plain: Description, tensors: Mapping[str, Tensor], network: nn.Module) -> bool:
    """Whether timm's network with these tensors has the logits of the trained one.

    A method may change what is computed without changing a tensor: ShakeDrop scales branches.
    """
    assert isinstance(network, Normalized)
    x = torch.linspace(0, 1, prod(plain.shape)).view(1, *plain.shape)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        body = plain.body().eval()
        assert isinstance(body, Timm)
        body.network.load_state_dict(tensors)
        return torch.allclose(body(network.normalize(x)), network(x), rtol=1e-3, atol=1e-4)


def _counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The counters that frozen BatchNorms lack and others have."""
    end = ".running_mean"
    norms = [name.removesuffix(end) for name in tensors if name.endswith(end)]
    lacking = (f"{norm}{COUNTER}" for norm in norms if f"{norm}{COUNTER}" not in tensors)
    return {name: torch.zeros((), dtype=torch.int64) for name in lacking}


def _call(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())
