"""The weights that a run begins with."""

import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from whole_runs import execute
from wording import says

from vicinal.errors import RunError
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.storage.starts import OfFile, OfRun, Weights, begin, tensors_in
from vicinal.storage.weights import read as weights_of
from vicinal.storage.weights import snapshot


class Plain(WideResNet):
    """The smallest, for images in colour."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__(10, 1, num_classes=num_classes, shape=(3, 8, 8))


def network(num_classes: int = 3, mean: float = 0.5) -> nn.Module:
    return Normalized(Plain(num_classes), (mean,) * 3, (0.25,) * 3)


def weights(model: nn.Module) -> Weights:
    return Weights(snapshot(model), {"sha256": "some"})


def equal(one: nn.Module, other: nn.Module, but: str = "never") -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for (name, a), b in pairs if but not in name)


@pytest.mark.parametrize("wrapper", ["", "module.", "body.", "module.body.network."])
def test_wrappers_around_a_network_do_not_matter(wrapper: str) -> None:
    theirs, ours = Plain(), network()
    named = {wrapper + name: value for name, value in snapshot(theirs).items()}
    begin(ours, Weights(named, {}), "same")
    assert equal(ours.get_submodule("body"), theirs)


def test_what_is_lacking_or_does_not_fit_is_named() -> None:
    ours, lacking = network(), snapshot(network())
    del lacking["body.fc.bias"]
    with pytest.raises(RunError, match=r"it lacks fc\.bias"):
        begin(ours, Weights(lacking, {}), "same")
    with pytest.raises(RunError, match=says("init has fc.weight of (5, 64)")):
        begin(ours, weights(network(5)), "same")
    with pytest.raises(RunError, match=says("dataset.mean must be that of init's weights")):
        begin(ours, weights(network(mean=0.25)), "same")


def test_what_is_left_over_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    more = snapshot(network()) | {"body.teacher.weight": torch.ones(1)}
    begin(network(), Weights(more, {}), "same")
    assert "not used: teacher.weight" in capsys.readouterr().err


def test_a_new_classifier_begins_with_its_own_weights() -> None:
    ours, theirs = network(), network(5)
    random = snapshot(ours)
    begin(ours, weights(theirs), "new")
    kept = snapshot(ours)
    for name in ("body.fc.weight", "body.fc.bias"):
        assert torch.equal(kept[name], random[name])
    assert torch.equal(kept["body.stem.conv.weight"], theirs.state_dict()["body.stem.conv.weight"])


def test_a_network_with_a_trunk_begins_with_that_alone(capsys: pytest.CaptureFixture[str]) -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential()
            self.trunk.stem = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 16, 3, bias=False)))
            self.heads = nn.Linear(2, 2)

    detector, theirs = Detector(), network()
    heads = detector.heads.weight.clone()
    begin(detector, weights(theirs), "same")
    found, wanted = (
        detector.trunk.get_submodule("stem.conv"),
        theirs.get_submodule("body.stem.conv"),
    )
    assert torch.equal(found.weight, wanted.weight)  # pyright: ignore[reportArgumentType]
    assert torch.equal(detector.heads.weight, heads)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_checkpoints_of_torch_and_safetensors_are_read(key: str | None, tmp_path: Path) -> None:
    kept = snapshot(network())
    plain, safe = tmp_path / "a.pth.tar", tmp_path / "a.safetensors"
    torch.save(kept if key is None else {key: kept, "epoch": 3}, plain)
    save_file(kept, safe)
    for path in (plain, safe):
        found = tensors_in(path)
        assert all(torch.equal(found[name], value) for name, value in kept.items())


def test_a_file_cannot_execute_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(RunError, match="no weights that can be read safely"):
        tensors_in(tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(RunError, match="must be a state dict"):
        tensors_in(tmp_path / "list.pth")
    with pytest.raises(RunError, match="read safely"):
        tensors_in(tmp_path / "text.pth")
    with pytest.raises(RunError, match=r"init\.path must be a file"):
        OfFile(str(tmp_path / "none.pth")).read(tmp_path)
    with pytest.raises(RunError, match="must have the checksum abc"):
        OfFile(str(tmp_path / "list.pth"), sha256="abc").read(tmp_path)
    with pytest.raises(ValueError, match="report must be one of last"):
        OfRun("a/b/c/d", 0, report="median10")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished run, and its record."""
    out = tmp_path_factory.mktemp("first")
    return out, execute(out)


@pytest.fixture
def out(first: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A folder with that run alone."""
    return Path(shutil.copytree(first[0], tmp_path / "out"))


STILL = ("optimizer.lr=1e-30", "optimizer.weight_decay=0")  # trains nothing


def last(out: Path, record: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights after its last epoch."""
    return weights_of(out / record["name"] / "seed0", record, "last")


def test_a_run_begins_with_the_weights_of_another(
    first: tuple[Path, dict[str, Any]], out: Path
) -> None:
    source = first[1]
    record = execute(out, *STILL, "init=run", f"init.name={source['name']}")
    assert record["init"]["name"] == source["name"]
    assert record["init"]["sha256"] == source["weights"]["last"]["sha256"]
    begun, there = (last(out, each) for each in (record, source))
    random = last(out, execute(out, *STILL))
    assert torch.equal(begun["body.fc.weight"], there["body.fc.weight"])
    assert not torch.equal(random["body.fc.weight"], there["body.fc.weight"])
    assert record["name"] != source["name"]


def test_a_file_is_no_part_of_a_run_s_name_but_of_its_record(out: Path, tmp_path: Path) -> None:
    (kept,) = out.rglob("weights/last.safetensors")
    places = [shutil.copy(kept, tmp_path / name) for name in ("a.safetensors", "b.safetensors")]
    one, other = (execute(out, *STILL, "init=file", f"init.path={path}") for path in places)
    assert one == other  # it was left alone
    changed = {name: value + 1 for name, value in tensors_in(Path(places[0])).items()}
    save_file(changed, places[1])
    with pytest.raises(RunError, match=says("init must be the weights that")):
        execute(out, *STILL, "init=file", f"init.path={places[1]}")
    Path(places[1]).unlink()
    assert execute(out, *STILL, "init=file", f"init.path={places[1]}") == one


def test_a_run_without_its_start_is_refused(out: Path) -> None:
    with pytest.raises(RunError, match=r"init\.name must be a finished run, got a/b/seed0"):
        execute(out, *STILL, "init=run", "init.name=a/b")
