"""Files that would run code or leave their folder are refused: pickles, archives."""

import hashlib
import io
import os
import pickle
import subprocess
import tarfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from vicinal.data import cifar, npz, stl10, tiny_imagenet
from vicinal.data.download import RemoteFile
from vicinal.errors import RunError
from vicinal.storage.checkpoints import Checkpoints


class Call:
    """Unpickling it calls something."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def calls(proof: Path) -> list[Call]:
    """Ways to leave a file behind."""
    shell, code = f"touch {proof}", f"open({str(proof)!r}, 'w').close()"
    return [
        Call(os.system, shell),
        Call(exec, code),
        Call(eval, code),
        Call(subprocess.check_call, ["touch", str(proof)]),
        Call(open, str(proof), "w"),
        Call(Path.touch, proof),
        Call(os.mknod, str(proof)),
        Call(np.save, str(proof), np.zeros(1)),
        Call(torch.save, torch.zeros(1), str(proof)),
        Call(map, eval, [code]),
    ]


def checkpoint_of_torch(folder: Path, hidden: object, protocol: int) -> None:
    buffer = io.BytesIO()
    zipped, oldest = protocol % 2 == 0, max(protocol, 2)
    content = {"weights": torch.zeros(3), "more": hidden}
    torch.save(content, buffer, pickle_protocol=oldest, _use_new_zipfile_serialization=zipped)
    load_checkpoint(folder, buffer.getvalue())


def checkpoint_as_a_plain_pickle(folder: Path, hidden: object, protocol: int) -> None:
    load_checkpoint(folder, pickle.dumps(hidden, protocol))


def load_checkpoint(folder: Path, content: bytes) -> None:
    """From a file whose name has the right checksum."""
    folder.mkdir()
    name = f"epoch00001-step0000000001-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    (folder / name).write_bytes(content)
    Checkpoints(folder).load()


def npz_file(path: Path, hidden: object, protocol: int) -> None:
    objects = np.array([hidden, None, None], dtype=object)
    given = dict.fromkeys(npz.KEYS, np.zeros(3)) | {npz.KEYS[protocol % 4]: objects}
    np.savez(path, allow_pickle=True, **given)
    npz.images(path.with_suffix(".npz"))


def key_of_a_packed_folder(path: Path, hidden: object, protocol: int) -> None:
    np.savez(path, key=np.array([hidden, protocol], dtype=object))
    if npz.key(path.with_suffix(".npz")) is None:
        raise RunError("counts as not packed")


def cifar_batch(path: Path, hidden: object, protocol: int) -> None:
    cifar.unpickle(pickle.dumps({"labels": [1], "data": hidden}, protocol), "batch")


def cifar_batch_with_an_array(path: Path, hidden: object, protocol: int) -> None:
    array = np.array([hidden, None], dtype=object)
    cifar.unpickle(pickle.dumps({"labels": array}, protocol), "batch")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "read",
    [
        checkpoint_of_torch,
        checkpoint_as_a_plain_pickle,
        npz_file,
        key_of_a_packed_folder,
        cifar_batch,
        cifar_batch_with_an_array,
    ],
)
def test_a_pickle_that_would_run_code(
    read: Callable[[Path, object, int], None], protocol: int, tmp_path: Path
) -> None:
    proof = tmp_path / "executed"
    wrapped = (lambda c: c, lambda c: [c], lambda c: {"loop": {"model": c}})
    for number, (call, wrap) in enumerate(product(calls(proof), wrapped)):
        with pytest.raises(RunError):
            read(tmp_path / str(number), wrap(call), protocol)
        assert not proof.exists(), call.call


@pytest.mark.trials(40)
@pytest.mark.parametrize("dataset", ["cifar10", "stl10", "tiny_imagenet"])
def test_an_archive_that_would_write_elsewhere(
    dataset: str, trial: int, draw: Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ../, absolute names, links or devices."""
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    absolute = str(tmp_path / "evil")
    if dataset == "tiny_imagenet":
        file = hostile_zip(root / "set.zip", draw, absolute)
        monkeypatch.setattr(tiny_imagenet, "TINY_IMAGENET", file)
        read = tiny_imagenet.tiny_imagenet
    elif dataset == "stl10":
        file = hostile_tar(root / "set.tar.gz", draw, stl10.FOLDER, list(stl10.MD5), absolute)
        monkeypatch.setattr(stl10, "STL10", file)
        read = stl10.Stl10()
    else:
        wanted = list(cifar.CIFAR10_MD5)
        file = hostile_tar(root / "set.tar.gz", draw, "cifar-10-batches-py", wanted, absolute)
        monkeypatch.setattr(cifar, "CIFAR10", file)
        read = cifar.cifar10
    with pytest.raises(RunError):
        read(root)
    inside = (root / file.name, root / "stl10_binary", root / "tiny-imagenet-200.npz")
    left = [path for path in tmp_path.rglob("*") if path.is_symlink() or not path.is_dir()]
    assert not [p for p in left if p.is_symlink() or not any(map(p.is_relative_to, inside))]
    assert not list(Path("/tmp").glob(f"vicinal-evil-{os.getpid()}*"))


def evil_names(draw: Random, folder: str, wanted: list[str], absolute: str) -> list[str]:
    """Names that lead elsewhere, or to a wanted file by another way."""
    name = draw.choice(wanted)
    ways = [f"../{name}", f"{folder}/../../{name}", absolute, f"/tmp/vicinal-evil-{os.getpid()}"]
    ways += [f"{folder}/./../{folder}/../../x", "..", f"{folder}//../../{name}"]
    return draw.sample(ways, 4)


def hostile_tar(
    path: Path, draw: Random, folder: str, wanted: list[str], absolute: str
) -> RemoteFile:
    """Links and devices under the wanted names, files under evil ones."""
    with tarfile.open(path, "w:gz") as tar:
        for name in evil_names(draw, folder, wanted, absolute):
            add(tar, name, b"evil")
        for name in wanted:
            info = tarfile.TarInfo(f"{folder}/{name}")
            kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
            info.type, info.linkname = draw.choice(kinds), draw.choice(["/etc/passwd", absolute])
            tar.addfile(info)
            if draw.random() < 0.5:
                add(tar, f"{folder}/{name}/../{name}", b"evil")
    return published(path)


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def hostile_zip(path: Path, draw: Random, absolute: str) -> RemoteFile:
    folder = tiny_imagenet.FOLDER
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/wnids.txt", "n01\n")
        archive.writestr(f"{folder}/val/val_annotations.txt", f"../../../../{absolute}\tn01\n")
        for name in evil_names(draw, folder, ["wnids.txt"], absolute):
            archive.writestr(name, "evil")
        archive.writestr(f"{folder}/train/n01/../../../{draw.random()}.JPEG", "evil")
    return published(path)


def published(path: Path) -> RemoteFile:
    """As if it were the original."""
    content = path.read_bytes()
    return RemoteFile(path.name, (), f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
