"""UCI tables, as in mixup's Table 4 (§3.6): split, filled in and standardised.

They are downloaded from UCI's archive on first use, or read from a folder that holds them in other
forms: compressed or not, with or without a header, with any line ends. A fingerprint of the values
alone proves that they are the original.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from vicinal.data.dataset import Data
from vicinal.data.download import RemoteFile, fetch
from vicinal.data.split import Split, Whole, fingerprint
from vicinal.data.tabular import cells, divided, prepared, read, samples
from vicinal.errors import RunError

_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
_H2O = (
    "https://raw.githubusercontent.com/h2oai/h2o-2/be350f3f2c2fb6f135cc07c41f83fd0e4f521ac1"
    "/smalldata/arcene"
)

ABALONE = RemoteFile(
    name="abalone.data",
    urls=(f"{_UCI}/abalone/abalone.data",),
    checksum="sha256:de37cdcdcaaa50c309d514f248f7c2302a5f1f88c168905eba23fe2fbc78449f",
    size=191_873,
)
ARCENE = (  # samples and labels, of the challenge's training set and of its validation set
    RemoteFile(
        name="arcene_train.data",
        urls=(f"{_UCI}/arcene/ARCENE/arcene_train.data", f"{_H2O}/arcene_train.data"),
        checksum="sha256:0427dc237d8103810e3861e77ba7b16c3d10c8c526ae83bafdc2a660c5c608f0",
        size=2_715_582,
    ),
    RemoteFile(
        name="arcene_train.labels",
        urls=(f"{_UCI}/arcene/ARCENE/arcene_train.labels", f"{_H2O}/arcene_train_labels.labels"),
        checksum="sha256:434bb813ff7e69d182eeed347f77bd4981917d6233efedd01b5f6d916c282fbe",
        size=256,
    ),
    RemoteFile(
        name="arcene_valid.data",
        urls=(f"{_UCI}/arcene/ARCENE/arcene_valid.data", f"{_H2O}/arcene_valid.data"),
        checksum="sha256:7f8792b3cfb083c3b722e31b37a0c40604506bdece1d2db621e00d862da1c549",
        size=2_723_110,
    ),
    RemoteFile(
        name="arcene_valid.labels",
        # Copies differ in the last line end; this checksum is the second source's.
        urls=(f"{_UCI}/arcene/arcene_valid.labels", f"{_H2O}/arcene_valid_labels.labels"),
        checksum="sha256:81d2808d24f0a59257f3309847cb9577612b8e7c06c6beeebfa5fea5457ac5e2",
        size=255,
    ),
)
ARRHYTHMIA = RemoteFile(
    name="arrhythmia.data",
    urls=(f"{_UCI}/arrhythmia/arrhythmia.data",),
    checksum="sha256:a7f0f4ca289a4c58b5ed85a9adb793189acd38425828ce3dfbb70adb45f30169",
    size=402_355,
)
HTRU2 = RemoteFile(
    name="HTRU2.zip",
    urls=(
        "https://archive.ics.uci.edu/static/public/372/htru2.zip",
        f"{_UCI}/00372/HTRU2.zip",
    ),
    checksum="sha256:ba442c076dd22a8952700f26e38499fc1806037dcf7bea0e125e6bfba393f379",
    size=1_563_015,
)
PHISHING = RemoteFile(
    name="phishing.arff",
    urls=(f"{_UCI}/00327/Training%20Dataset.arff",),
    checksum="sha256:3bcf93b1612306537ee2737751f1bac185b2a77886ab376644c3bf0c7f7cb3e6",
    size=800_920,
)


@dataclass(frozen=True, kw_only=True)
class Uci:
    """One table that `source` reads, prepared for training."""

    name: str
    source: Whole
    root: str = "data"
    test_share: float = 0.2
    split_seed: int = 0
    standardize: bool = True
    canonical: dict[str, str] | None = None  # the fingerprint that the table must have
    known_size: dict[str, int | Sequence[int]] | None = None  # for estimates, with this test_share

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be between 0 and 1, got {self.test_share}")

    def load(self) -> Data:
        """Read, compare the fingerprint, split, fill in, and standardise by the training rows."""
        root = Path(self.root).expanduser()
        whole = self.source(root)
        marks = {"table": fingerprint(whole)}
        if self.canonical not in (None, marks):
            raise RunError(
                f"{self.name} in {root.resolve()} is not the original: its fingerprint "
                f"is {marks['table']} (delete its files there to download them again; "
                "dataset=tabular reads any table)"
            )
        train, test = divided(whole, self.test_share, self.split_seed)
        original = None if self.canonical is None else True
        return prepared(train, test, marks, standardize=self.standardize, canonical=original)


@lru_cache(maxsize=1)  # here and below, so that the next seed of a sweep need not read it
def abalone(root: Path) -> Split:
    """4,177 x 10 (three of them the sex), 28 classes: the rings of the shell, 1 to 27 and 29."""
    return _last_column(_table(root, ABALONE))


@lru_cache(maxsize=1)
def arcene(root: Path) -> Split:
    """200 x 10,000, 112 and 88 of 2 classes: training and validation set of the NIPS challenge.

    The 700 test samples of the challenge have no published labels.
    """
    train, train_labels, valid, valid_labels = (
        _table(root, file, f"{file.name}.xz", file.name, separator=None) for file in ARCENE
    )
    return samples(
        np.concatenate([train, valid]), np.concatenate([train_labels, valid_labels])[:, 0]
    )


@lru_cache(maxsize=1)
def arrhythmia(root: Path) -> Split:
    """452 x 279, 13 of 16 possible classes; 408 numbers are missing."""
    return _last_column(_table(root, ARRHYTHMIA))


@lru_cache(maxsize=1)
def htru2(root: Path) -> Split:
    """17,898 x 8, 2 classes: 16,259 false candidates, 1,639 pulsars."""
    return _last_column(_table(root, HTRU2, "HTRU_2.csv"))


@lru_cache(maxsize=1)
def phishing(root: Path) -> Split:
    """11,055 x 30 of -1, 0 and 1, taken as numbers; 2 classes: 4,898 phishing, 6,157 not."""
    return _last_column(_table(root, PHISHING, "phishing.csv", "Training Dataset.arff"))


def _table(
    root: Path, file: RemoteFile, *other_forms: str, separator: str | None = ","
) -> np.ndarray:
    """The cells of a file in another form, if the folder has one, or else of the published file.

    A published archive holds the first of the other forms.
    """
    for form in other_forms:
        if (root / form).is_file():
            return read(root / form, separator)
    path = fetch(file, root)
    if path.suffix != ".zip":
        return read(path, separator)
    with ZipFile(path) as archive:
        return cells(archive.read(other_forms[0]).decode(), separator, str(path))


def _last_column(table: np.ndarray) -> Split:
    return samples(table[:, :-1], table[:, -1])
