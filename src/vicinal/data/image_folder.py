"""Any folder of images, ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/*.jpg, packed once to uint8."""

import hashlib
import sys
from pathlib import Path

import torch

from vicinal.data import arrays
from vicinal.data.decoding import decoded
from vicinal.data.split import Split
from vicinal.errors import RunError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")


def image_folder(
    root: Path, size: int | None, test: str | None = None, cache: str = "data/packed"
) -> tuple[Split, Split]:
    """Classes are the sorted names of the folders in `train`; `test` may be called `val`.

    The packed copy, one file for a root and a size, is made anew when any image's name, size in
    bytes or time of change is another.
    """
    test = _test_folder(root, ["test", "val"] if test is None else [test])
    folders = [root / "train", root / test]
    classes = [_classes(folder) for folder in folders]
    if classes[0] != classes[1]:
        odd = sorted(set(classes[0]) ^ set(classes[1]))
        raise RunError(f"{root} must have one set of classes in train and {test}, not so: {odd}")
    names = [_images(root, folder, classes[0]) for folder in folders]
    key = _key(root, names, size)
    place = hashlib.sha256(f"{root.resolve()} {test} {size}".encode()).hexdigest()[:12]
    packed = Path(cache).expanduser() / f"{root.resolve().name}-{place}.npz"
    if arrays.key(packed) != key:
        print(f"packing the images of {root} into {packed}, once", file=sys.stderr)
        arrays.write(packed, *[_split(root, part, classes[0], size) for part in names], key=key)
    return arrays.images(packed)


def _test_folder(root: Path, names: list[str]) -> str:
    present = [name for name in names if (root / name).is_dir()]
    if len(present) != 1 or not (root / "train").is_dir():
        got = ", ".join(sorted(path.name for path in root.glob("*/"))) or "no folder"
        raise RunError(
            f"dataset.root must hold train and {' or '.join(names)}, got {got} in {root} "
            "(dataset.source.test=NAME says which where both are there)"
        )
    return present[0]


def _classes(folder: Path) -> list[str]:
    classes = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())
    if not classes:
        raise RunError(f"{folder} must hold a folder for each class, got none")
    return classes


def _images(root: Path, folder: Path, classes: list[str]) -> list[str]:
    """The images below the classes' folders, relative to the root, class by class."""
    names = []
    for label in classes:
        paths = sorted((folder / label).rglob("[!.]*"))
        found = [str(path.relative_to(root)) for path in paths if path.suffix.lower() in SUFFIXES]
        if not found:
            raise RunError(f"{folder / label} must hold images ({', '.join(SUFFIXES)}), got none")
        names += found
    return names


def _key(root: Path, names: list[list[str]], size: int | None) -> str:
    digest = hashlib.sha256(f"{size}".encode())
    for name in (name for part in names for name in part):
        stat = (root / name).stat()
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _split(root: Path, names: list[str], classes: list[str], size: int | None) -> Split:
    index = {label: number for number, label in enumerate(classes)}
    x = decoded(names, lambda name: (root / name).read_bytes(), size)
    return Split(x, torch.tensor([index[Path(name).parts[1]] for name in names]))
