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
    test, classes = layout(root, test, "dataset.source.test")
    names = [_images(root, root / part, classes) for part in ("train", test)]
    key = _key(root, names, size)
    place = hashlib.sha256(f"{root.resolve()} {test} {size}".encode()).hexdigest()[:12]
    packed = Path(cache).expanduser() / f"{root.resolve().name}-{place}.npz"
    if arrays.key(packed) != key:
        print(f"packing the images of {root} into {packed}, once", file=sys.stderr)
        arrays.write(packed, *[_split(root, part, classes, size) for part in names], key=key)
    return arrays.images(packed)


def layout(root: Path, test: str | None, key: str) -> tuple[str, list[str]]:
    """The name of the test folder, which `key` sets, and the classes, which train shares."""
    test = _test_folder(root, ["test", "val"] if test is None else [test], key)
    classes, others = (_classes(root / part) for part in ("train", test))
    if classes != others:
        odd = sorted(set(classes) ^ set(others))
        few = ", ".join(odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
        raise RunError(f"{root} must have one set of classes in train and {test}, not so: {few}")
    return test, classes


def _test_folder(root: Path, names: list[str], key: str) -> str:
    present = [name for name in names if (root / name).is_dir()]
    if len(present) != 1 or not (root / "train").is_dir():
        got = ", ".join(sorted(path.name for path in root.glob("*/"))) or "no folder"
        raise RunError(
            f"dataset.root must hold train and {' or '.join(names)}, got {got} in {root} "
            f"({key}=NAME says which where both are there)"
        )
    return present[0]


def is_image(name: str) -> bool:
    """By its ending."""
    return name.lower().endswith(SUFFIXES)


def _classes(folder: Path) -> list[str]:
    classes = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())
    if not classes:
        files = sum(1 for path in folder.iterdir() if is_image(path.name))
        raise RunError(f"{folder} must hold a folder for each class, got {files} images and none")
    return classes


def _images(root: Path, folder: Path, classes: list[str]) -> list[str]:
    """The images below the classes' folders, relative to the root, class by class."""
    names = []
    for label in classes:
        paths = sorted((folder / label).rglob("[!.]*"))
        found = [str(path.relative_to(root)) for path in paths if is_image(path.name)]
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
