"""Any folder of images, ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/*.jpg, packed once to uint8."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch

from vicinal.data import npz
from vicinal.data.decode.folder import decoded
from vicinal.data.split import Split
from vicinal.errors import RunError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")

File = tuple[bytes, os.stat_result]  # named relative to the folder of the classes


def image_folder(
    root: Path, size: int | None, test: str | None = None, cache: str = "data/packed"
) -> tuple[Split, Split]:
    """Classes are the sorted names of the folders in `train`; `test` may be called `val`.

    The packed copy, one file per root and size, is rebuilt when any image's name, size in bytes
    or mtime changes.
    """
    test, classes = layout(root, test, "dataset.source.test")
    found = {part: [files(root / part, label) for label in classes] for part in ("train", test)}

    def made() -> tuple[Split, ...]:
        return tuple(_split(root, part, lists, size) for part, lists in found.items())

    return _packed(root, f"{test} {size}", _key(found, size), Path(cache), made)


def one_folder(folder: Path, size: int | None, cache: str = "data/packed") -> Split:
    """The images FOLDER/CLASS/* alone, packed likewise."""
    lists = [files(folder, label) for label in class_folders(folder)]

    def made() -> tuple[Split, ...]:
        split = _split(folder.parent, folder.name, lists, size)
        return split, split[torch.arange(0)]

    key = _key({folder.name: lists}, size)
    return _packed(folder, f"alone {size}", key, Path(cache), made)[0]


def _packed(
    root: Path, how: str, key: str, cache: Path, made: Callable[[], tuple[Split, ...]]
) -> tuple[Split, Split]:
    """The packed copy of a folder, which is made again if its key is another."""
    place = hashlib.sha256(os.fsencode(f"{root.resolve()} {how}")).hexdigest()[:12]
    packed = cache.expanduser() / f"{root.resolve().name}-{place}.npz"
    if npz.key(packed) != key:
        print(f"packing the images of {root} into {packed}, once", file=sys.stderr)
        npz.write(packed, *made(), key=key)
    return npz.images(packed)


def layout(root: Path, test: str | None, key: str) -> tuple[str, list[str]]:
    """The name of the test folder, which the setting `key` chooses, and the classes of both."""
    test = _test_folder(root, ["test", "val"] if test is None else [test], key)
    classes, others = (class_folders(root / part) for part in ("train", test))
    if classes != others:
        odd = sorted(set(classes) ^ set(others))
        few = ", ".join(odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
        raise RunError(
            f"{root} must have the same classes in train and {test}, got only in one: {few}"
        )
    return test, classes


def _test_folder(root: Path, names: list[str], key: str) -> str:
    present = [name for name in names if (root / name).is_dir()]
    if len(present) != 1 or not (root / "train").is_dir():
        got = ", ".join(sorted(path.name for path in root.glob("*/"))) or "no folder"
        raise RunError(
            f"dataset.root must hold train and {' or '.join(names)}, got {got} in {root} "
            f"({key}=NAME chooses one where both exist)"
        )
    return present[0]


def is_image(name: str) -> bool:
    """Whether the suffix is an image's."""
    return name.lower().endswith(SUFFIXES)


def class_folders(folder: Path) -> list[str]:
    """The names of the classes, sorted."""
    classes = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())
    if not classes:
        files = sum(1 for path in folder.iterdir() if is_image(path.name))
        raise RunError(f"{folder} must hold a folder per class, got {files} images and no folder")
    return classes


def files(folder: Path, label: str) -> list[File]:
    """The images of a class at any depth, sorted by name, without hidden files and folders.

    Symbolic links are followed, except to a folder that contains them.
    """
    above = tuple(each.stat() for each in (folder, *folder.resolve().parents))
    found = sorted(_below(folder / label, label, above), key=lambda file: file[0])
    if not found:
        raise RunError(f"{folder / label} must hold images ({', '.join(SUFFIXES)}), got none")
    return found


def _below(folder: Path, name: str, above: tuple[os.stat_result, ...]) -> Iterator[File]:
    above = (*above, folder.stat())
    with os.scandir(folder) as entries:
        for entry in entries:
            inside = f"{name}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if not any(os.path.samestat(entry.stat(), each) for each in above):
                    yield from _below(folder / entry.name, inside, above)
            elif is_image(entry.name):
                yield os.fsencode(inside), entry.stat()


def _key(found: Mapping[str, Sequence[Sequence[File]]], size: int | None) -> str:
    digest = hashlib.sha256(f"{size}".encode())
    for part, lists in found.items():
        for name, stat in chain.from_iterable(lists):
            digest.update(b"%s/%s\0" % (part.encode(), name))
            digest.update(f"{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _split(root: Path, part: str, lists: Sequence[Sequence[File]], size: int | None) -> Split:
    names = [f"{part}/{os.fsdecode(name)}" for name, _ in chain.from_iterable(lists)]
    x = decoded(names, lambda name: (root / name).read_bytes(), size)
    counts = torch.tensor([len(each) for each in lists])
    return Split(x, torch.arange(len(lists)).repeat_interleave(counts))
