"""What comes from elsewhere: pickles, archives, downloads, a network that is not there."""

import builtins
import hashlib
import io
import os
import pickle
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch
from zipfile import ZipFile

import numpy as np
import torch

from faults.children import TINY, Trials, differing, finish, outcome, said, undisturbed
from vicinal.data import cifar, npz, stl10, tiny_imagenet
from vicinal.data.download import RemoteFile, fetch
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
        Call(eval, f"open({str(proof)!r}, 'w').close()"),
        Call(subprocess.check_call, ["touch", str(proof)]),
        Call(builtins.open, str(proof), "w"),
        Call(Path.touch, proof),
        Call(getattr(os, "mknod"), str(proof)),  # noqa: B009
        Call(np.save, str(proof), np.zeros(1)),
        Call(torch.save, torch.zeros(1), str(proof)),
        Call(map, eval, [code]),
    ]


def pickles(scratch: Path, draw: Random, trials: int) -> Trials:
    """A pickle that would run code, as a checkpoint, in an .npz file, and as a CIFAR batch."""
    proof = scratch / "executed"
    for trial in range(trials):
        call, protocol = draw.choice(calls(proof)), draw.randint(0, pickle.HIGHEST_PROTOCOL)
        hidden = draw.choice([call, [call], {"data": call}, {"loop": {"model": call}}])
        as_what = draw.choice([as_checkpoint, as_raw, as_npz, as_key, as_batch, as_objects])
        with redirect_stderr(StringIO()):
            refused = as_what(scratch / str(trial), hidden, protocol)
        if proof.exists():
            proof.unlink()
            yield f"{as_what.__name__} executed {call.call[0]}"
        else:
            yield "" if refused else f"{as_what.__name__} took {call.call[0]}"
    return "checkpoints, .npz files, CIFAR batches"


def as_checkpoint(folder: Path, hidden: object, protocol: int) -> bool:
    """Written by torch, zipped or not, under a name with the right checksum."""
    buffer = io.BytesIO()
    zipped = protocol % 2 == 0
    torch.save(
        {"weights": torch.zeros(3), "more": hidden},
        buffer,
        pickle_protocol=max(protocol, 2),
        _use_new_zipfile_serialization=zipped,
    )
    return refuses_checkpoint(folder, buffer.getvalue())


def as_raw(folder: Path, hidden: object, protocol: int) -> bool:
    """A plain pickle."""
    return refuses_checkpoint(folder, pickle.dumps(hidden, protocol))


def refuses_checkpoint(folder: Path, content: bytes) -> bool:
    """Whether a run would not go on from it."""
    folder.mkdir()
    name = f"epoch00001-step0000000001-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    (folder / name).write_bytes(content)
    return refuses(Checkpoints(folder).load)


def as_npz(path: Path, hidden: object, protocol: int) -> bool:
    """An array of objects where images should be."""
    zeros = np.zeros(3)
    objects = np.array([hidden, None, None], dtype=object)
    given = dict.fromkeys(npz.KEYS, zeros) | {npz.KEYS[protocol % 4]: objects}
    np.savez(path, allow_pickle=True, **given)
    return refuses(npz.images, path.with_suffix(".npz"))


def as_key(path: Path, hidden: object, protocol: int) -> bool:
    """In the mark of a packed image folder, which then counts as not packed."""
    np.savez(path, key=np.array([hidden, protocol], dtype=object))
    return npz.key(path.with_suffix(".npz")) is None


def as_batch(path: Path, hidden: object, protocol: int) -> bool:
    """One of CIFAR's files."""
    return refuses(cifar.unpickle, pickle.dumps({"labels": [1], "data": hidden}, protocol), "batch")


def as_objects(path: Path, hidden: object, protocol: int) -> bool:
    """The same, inside an array."""
    array = np.array([hidden, None], dtype=object)
    return refuses(cifar.unpickle, pickle.dumps({"labels": array}, protocol), "batch")


def refuses(read: Callable[..., object], *arguments: object) -> bool:
    """Whether it says so as we say things."""
    try:
        read(*arguments)
    except RunError:
        return True
    return False


def downloads(scratch: Path, draw: Random, trials: int) -> Trials:
    """A download with flipped bits, cut short, too long or of another file; then the right one."""
    mended = 0
    for trial in range(trials):
        content = draw.randbytes(draw.randint(1, 5000))
        sha256 = hashlib.sha256(content).hexdigest()
        wrong, right, root = scratch / "wrong", scratch / "right", scratch / f"root{trial}"
        wrong.write_bytes(spoilt(content, draw))
        right.write_bytes(content)
        file = RemoteFile("set.bin", (wrong.as_uri(),), sha256, len(content))
        if not refuses(fetch, file, root) or (root / "set.bin").exists():
            yield f"{trial}: a wrong file was taken"
            continue
        both = RemoteFile("set.bin", (wrong.as_uri(), right.as_uri()), sha256, len(content))
        good = fetch(both, root).read_bytes() == content
        mended += good
        (root / "set.bin").write_bytes(wrong.read_bytes())  # damaged where it lies
        yield "" if good and refuses(fetch, both, root) else f"{trial}: not mended, or taken"
    return f"{mended} mended by the next source"


def spoilt(content: bytes, draw: Random) -> bytes:
    """Other bytes than these."""
    kind = draw.choice(["flip", "cut", "more", "other"])
    if kind == "flip":
        place = draw.randrange(len(content))
        return (
            content[:place]
            + bytes([content[place] ^ 1 << draw.randrange(8)])
            + content[place + 1 :]
        )
    changed = {
        "cut": content[: draw.randrange(len(content))],
        "more": content + draw.randbytes(draw.randint(1, 99)),
        "other": bytes(255 - byte for byte in content),
    }
    return changed[kind]


def archives(scratch: Path, draw: Random, trials: int) -> Trials:
    """Archives whose members would be written elsewhere: ../, absolute, links, devices."""
    for trial in range(trials):
        cage = scratch / f"cage{trial}"
        root = cage / "deep" / "root"
        root.mkdir(parents=True)
        before = listing(cage, scratch)
        read = draw.choice([hostile_cifar, hostile_stl10, hostile_tiny])
        with redirect_stderr(StringIO()):
            refused = read(root, draw, str(cage / "evil"))
        inside = ("set.tar.gz", "set.zip", "stl10_binary", "tiny-imagenet-200.npz")
        new = [path for path in listing(cage, scratch) - before if not allowed(path, root, inside)]
        links = [path for path in root.rglob("*") if path.is_symlink()]
        yield (
            ""
            if refused and not new and not links
            else f"{read.__name__}: {refused}, {new}, {links}"
        )
    return "CIFAR, STL-10, Tiny-ImageNet"


def listing(cage: Path, scratch: Path) -> set[Path]:
    """What lies in the cage and around it."""
    return {*cage.rglob("*"), *scratch.iterdir(), *Path("/tmp").glob("vicinal-evil*")}


def allowed(path: Path, root: Path, names: tuple[str, ...]) -> bool:
    """Whether a file lies under one of these names in the data folder."""
    return any(path.is_relative_to(root / name) for name in names)


def evil_names(draw: Random, folder: str, wanted: list[str], absolute: str) -> list[str]:
    """Names that lead elsewhere, or that are ours by another way."""
    name = draw.choice(wanted)
    ways = [f"../{name}", f"{folder}/../../{name}", absolute, f"/tmp/vicinal-evil-{os.getpid()}"]
    return draw.sample(
        [*ways, f"{folder}/./../{folder}/../../x", "..", f"{folder}//../../{name}"], 4
    )


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
    """One file."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def published(path: Path) -> RemoteFile:
    """As if it were the original."""
    content = path.read_bytes()
    return RemoteFile(path.name, (), hashlib.sha256(content).hexdigest(), len(content))


def hostile_cifar(root: Path, draw: Random, absolute: str) -> bool:
    """Whether it is refused."""
    wanted, folder = list(cifar.CIFAR10_MD5), "cifar-10-batches-py"
    file = hostile_tar(root / "set.tar.gz", draw, folder, wanted, absolute)
    with patch.object(cifar, "CIFAR10", file):
        return refuses(cifar.cifar10, root)


def hostile_stl10(root: Path, draw: Random, absolute: str) -> bool:
    """Whether it is refused."""
    file = hostile_tar(root / "set.tar.gz", draw, stl10.FOLDER, list(stl10.MD5), absolute)
    with patch.object(stl10, "STL10", file):
        return refuses(stl10.Stl10(), root)


def hostile_tiny(root: Path, draw: Random, absolute: str) -> bool:
    """Whether it is refused."""
    folder = tiny_imagenet.FOLDER
    with ZipFile(root / "set.zip", "w") as archive:
        archive.writestr(f"{folder}/wnids.txt", "n01\n")
        archive.writestr(f"{folder}/val/val_annotations.txt", f"../../../../{absolute}\tn01\n")
        for name in evil_names(draw, folder, ["wnids.txt"], absolute):
            archive.writestr(name, "evil")
        archive.writestr(f"{folder}/train/n01/../../../{draw.random()}.JPEG", "evil")
    with patch.object(tiny_imagenet, "TINY_IMAGENET", published(root / "set.zip")):
        return refuses(tiny_imagenet.tiny_imagenet, root)


def without_network(scratch: Path, draw: Random, trials: int) -> Trials:
    """wandb with a key and a server that cannot be reached, or without a key."""
    whole = outcome(undisturbed(scratch.parent))
    for trial in range(trials):
        out, key = scratch / f"wandb{trial}", trial % 2 == 0

        def prepare(key: bool = key) -> None:
            os.environ |= {"WANDB_BASE_URL": f"http://127.0.0.1:{draw.randint(1, 20)}"}
            os.environ |= {"WANDB_API_KEY": "a" * 40} if key else {}
            os.environ |= {"HOME": str(scratch), "NETRC": str(scratch / "netrc")}

        finish([*TINY, "logger=wandb", "logger.timeout_seconds=1"], out, prepare)
        told = "the run goes on" if key else "offline"
        words = " ".join(said(out))
        yield differing(whole, out) if told in words else f"{out.name}: said {words}"
    return "with a key, without one"
