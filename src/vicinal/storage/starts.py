"""The weights that a run begins with, in place of random ones: of another run, or of a file.

A checkpoint of torch is read with `weights_only=True`, so it cannot execute code. Names need not
agree in the wrappers around a network: `module.`, `body.`, `network.` and the like are left out on
both sides.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vicinal.errors import RunError
from vicinal.storage import weights
from vicinal.storage.files import checksum
from vicinal.storage.run_folder import read_record

Classifier = Literal["same", "new"]
WRAPPERS = ("module.", "model.", "body.", "network.")
NESTED = ("state_dict", "model", "model_state", "net")  # where checkpoints keep their weights
FEW = 3  # names in a message


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and what a record says about them; `sha256` tells them from others."""

    tensors: Mapping[str, Tensor]
    origin: Mapping[str, Any]


@runtime_checkable
class Start(Protocol):
    """Where a run's first weights come from."""

    @property
    def classifier(self) -> Classifier:
        """Whether the last layer begins with these weights, too, or with random ones."""
        ...

    def mark(self, out: Path) -> str | None:
        """The checksum of the weights, or None if they are not there any more."""
        ...

    def read(self, out: Path) -> Weights:
        """Read the weights; other runs lie under `out`."""
        ...


@dataclass(frozen=True)
class OfRun:
    """The weights of another finished run, DATASET/MODEL/METHOD/ID and a seed."""

    name: str
    seed: int
    report: str = "last"
    classifier: Classifier = "same"

    def __post_init__(self) -> None:
        if self.report not in weights.REPORTS:
            known = ", ".join(weights.REPORTS)
            raise ValueError(f"report must be one of {known}, got {self.report}")

    def mark(self, out: Path) -> str | None:
        """The checksum in that run's record."""
        record = read_record(_folder(self._source, out))
        return None if record is None else record["weights"].get(self.report, {}).get("sha256")

    def read(self, out: Path) -> Weights:
        """Read them from the folder of that run."""
        folder, record = finished(self._source, out, "init.name")
        kept = weights.read(folder, record, self.report)
        known = {key: record[key] for key in ("name", "seed")}
        known |= {"report": self.report, **record["weights"][self.report]}
        return Weights(kept, known)

    @property
    def _source(self) -> str:
        return f"{self.name}/seed{self.seed}"


@dataclass(frozen=True)
class OfFile:
    """The weights in a file, safetensors or a checkpoint of torch."""

    path: str
    sha256: str | None = None  # refuse a file with another checksum
    classifier: Classifier = "same"

    def mark(self, out: Path) -> str | None:
        """The checksum of the file; `out` does not matter, here and below."""
        path = Path(self.path).expanduser()
        return checksum(path.read_bytes()) if path.is_file() else None

    def read(self, out: Path) -> Weights:
        """Read them."""
        path, found = Path(self.path).expanduser(), self.mark(out)
        if found is None:
            raise RunError(f"init.path must be a file, got {path}")
        if self.sha256 is not None and found != self.sha256:
            raise RunError(f"{path} must have the checksum {self.sha256}, got {found}")
        return Weights(tensors_in(path), {"file": path.name, "sha256": found})


def finished(source: str, out: Path, key: str) -> tuple[Path, dict[str, Any]]:
    """The folder and record of a finished run that a setting names, as under `out` or a folder."""
    folder = _folder(source, out)
    record = read_record(folder)
    if record is None:
        raise RunError(
            f"{key} must be a finished run, got {source} (NAME/seed0 under {out}, or a folder)"
        )
    return folder, record


def _folder(source: str, out: Path) -> Path:
    return out / source if (out / source).is_dir() else Path(source)


def tensors_in(path: Path) -> dict[str, Tensor]:
    """The tensors of safetensors, or of a checkpoint that holds nothing but plain values."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no checkpoint may raise anything
        said = (str(error).splitlines() or [""])[0]
        raise RunError(f"{path} holds no weights that can be read safely: {said}") from error
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if isinstance(content, dict):
        found = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if found:
            return found
    raise RunError(f"{path} holds no weights: it must be a state dict, or have one in it")


def begin(network: nn.Module, start: Weights, classifier: Classifier) -> None:
    """Copy the weights into a network; all but a new classifier's must be there.

    A network with a `trunk`, such as a detector's, begins with that alone. Its own normalisation of
    inputs stays; one that differs is refused, as the weights would see other values.
    """
    part = getattr(network, "trunk", network)
    theirs = {_bare(name): value for name, value in start.tensors.items()}
    ours = {_bare(name): value for name, value in part.state_dict(keep_vars=True).items()}
    new = _classifier(part) if classifier == "new" else set()
    missing = [name for name in ours if name not in theirs and not _optional(name, new)]
    if missing:
        raise RunError(f"init must have all of the network's weights; it lacks {_listed(missing)}")
    for name, value in ours.items():
        if name in new or name not in theirs:
            continue
        given = theirs[name]
        if name.startswith("normalize."):
            if not torch.allclose(given.to(value.device, value.dtype), value, atol=1e-6):
                raise RunError(
                    f"dataset.{name.removeprefix('normalize.')} must be that of init's weights, "
                    f"got {value.tolist()} and {given.tolist()}"
                )
        elif given.shape != value.shape:
            raise RunError(
                f"init has {name} of {tuple(given.shape)}, and the network of "
                f"{tuple(value.shape)}" + _advice(name, part)
            )
        else:
            value.data.copy_(given)
    unused = [name for name in theirs if name not in ours and not _optional(name, new)]
    if unused and part is network:
        print(f"init: not used: {_listed(unused)}", file=sys.stderr)


def _bare(name: str) -> str:
    """A tensor's name without the wrappers around its network."""
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def _classifier(network: nn.Module) -> set[str]:
    """The names of the last linear layer's weight and bias."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("init.classifier must be same for a network without a linear layer")
    return {_bare(f"{linear[-1]}.{name}") for name in ("weight", "bias")}


def _optional(name: str, new: set[str]) -> bool:
    """What either side may lack: a counter that no average uses, normalisation, the classifier."""
    return name.endswith("num_batches_tracked") or name.startswith("normalize.") or name in new


def _advice(name: str, network: nn.Module) -> str:
    fits = any(isinstance(module, nn.Linear) for module in network.modules())
    if fits and name in _classifier(network):
        return " (init.classifier=new begins with a random one)"
    return ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more
