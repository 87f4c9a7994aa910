"""Load a trained network: that of a finished run, or of its export. No data are needed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vicinal.cli.configs import build, check
from vicinal.contracts import Detector, LanguageModel
from vicinal.errors import RunError
from vicinal.models.normalized import Normalized
from vicinal.models.timm import Timm
from vicinal.storage import records, weights
from vicinal.storage.run_folder import read_record

MODEL_FILE = "model.safetensors"  # in an exported folder, as the Hugging Face Hub calls it
TIMM = f"{Timm.__module__}.{Timm.__name__}"
COUNTER = ".num_batches_tracked"  # of a BatchNorm; a frozen one has none
MOMENTS = ("mean", "std")


def load(where: str | Path, report: str | None = None) -> nn.Module:
    """The trained network in eval mode, on the CPU: images in [0, 1] in, logits out.

    `where` is the folder of a finished run, an exported folder or an exported file. A run keeps
    weights of every `report`, an epoch that counts, of which `last` is the default. An export holds
    those of one. A language model takes words, and a detector photos.
    """
    path = Path(where)
    if (record := read_record(path)) is not None:
        return of_run(path, record, report or "last")
    file = path / MODEL_FILE if path.is_dir() else path
    if file.suffix == ".safetensors" and file.is_file():
        return _of_export(file, report)
    raise RunError(f"{path} must be the folder of a finished run, or an export of one")


def of_run(folder: Path, record: dict[str, Any], report: str) -> nn.Module:
    """The network of a finished run, whose record was read."""
    kept = weights.read(folder, record, report)
    network = Description.by_record(record).network(folder)
    return _filled(network, kept, folder)


def _of_export(path: Path, report: str | None) -> nn.Module:
    words, tensors = _content(path)
    if lacking := [name for name in ("model", "method", "seed", "report") if name not in words]:
        raise RunError(
            f"{path} must be an export by vicinal, but its metadata lack {', '.join(lacking)}"
        )
    if report not in (None, words["report"]):
        raise RunError(f"{path} holds the weights of {words['report']}, not of {report}")
    network = Description.by_words(words).network(path)
    prefix = prefix_of(network)
    moments = {f"normalize.{m}": torch.tensor(json.loads(words[m])) for m in MOMENTS if m in words}
    names = {name.removeprefix(prefix): name for name in network.state_dict()}
    found = {names.get(n, n): t for n, t in tensors.items() if n in names or not _is_counter(n)}
    return _filled(network, found | moments, path)


def _content(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """A file's metadata and tensors."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise RunError(f"{path} is damaged, or not safetensors ({error})") from error


@dataclass(frozen=True)
class Description:
    """How a trained network is built."""

    config: Mapping[str, Any]  # of its run: seed, model and method
    num_classes: int
    shape: tuple[int, ...]  # of a sample

    @classmethod
    def by_record(cls, record: Mapping[str, Any]) -> "Description":
        """As the record of a run says."""
        config = {key: record["config"][key] for key in ("seed", "model", "method")}
        return cls(config, record["data"]["num_classes"], tuple(record["data"]["shape"]))

    @classmethod
    def by_words(cls, words: Mapping[str, str]) -> "Description":
        """As the metadata of an export say."""
        config = {key: json.loads(words[key]) for key in ("seed", "model", "method")}
        num_classes, shape = json.loads(words["num_classes"]), json.loads(words["shape"])
        return cls(records.current(config), num_classes, tuple(shape))

    def about(self) -> dict[str, Any]:
        """What the metadata of an export must say, each as JSON."""
        return {**self.config, "num_classes": self.num_classes, "shape": self.shape}

    def body(self) -> nn.Module:
        """The network without normalisation, and without its method's changes."""
        make = self._built("model")["model"]
        try:
            return make(num_classes=self.num_classes, shape=self.shape)
        except ValueError as error:
            raise ValueError(f"model.{error}") from error

    def network(self, source: Path) -> nn.Module:
        """The network as the method changed it, with weights and a normalisation to be filled in.

        The caller's random draws go on as if nothing had been drawn here.
        """
        try:
            with torch.device("cpu"), torch.random.fork_rng(devices=[]):
                method = self._built("method")["method"]
                return method.prepare(_normalized(self.body(), self.shape))
        except ValueError as error:
            raise RunError(f"{source} cannot be loaded: {error}") from error

    def _built(self, part: str) -> dict[str, Any]:
        """What the config of a part makes; settings may follow the seed."""
        config = OmegaConf.create({"seed": self.config["seed"], part: _offline(self.config[part])})
        assert isinstance(config, DictConfig)
        check(config)
        return build(config)


def prefix_of(network: nn.Module) -> str:
    """What precedes the names of the tensors of a network without normalisation."""
    if not isinstance(network, Normalized):
        return ""
    return "body.network." if isinstance(network.body, Timm) else "body."


def _normalized(body: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The network as its data make it."""
    if isinstance(body, LanguageModel):
        return body
    nothing = (0.0,) * shape[0], (1.0,) * shape[0]
    return body.normalized(*nothing) if isinstance(body, Detector) else Normalized(body, *nothing)


def _offline(node: Any) -> Any:
    """A config whose networks of timm begin without weights, since others replace them."""
    if isinstance(node, list):
        return [_offline(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _offline(value) for key, value in node.items()}
    return found | ({"pretrained": False} if node.get("_target_") == TIMM else {})


def _filled(network: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> nn.Module:
    """The network with these weights, in eval mode."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:2])
        raise RunError(
            f"{source} holds weights of another network than it describes: {reason}"
        ) from error
    return network.eval()


def _is_counter(name: str) -> bool:
    return name.endswith(COUNTER)
