"""Feature vectors from a text table, as mixup's experiment on UCI data needs them (§3.6).

The paper names neither splits nor scaling nor encoding, so each is an option or stated here.
"""

import csv
import gzip
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from vicinal.data import npz
from vicinal.data.dataset import Data
from vicinal.data.images import check
from vicinal.data.split import Split, fingerprint
from vicinal.data.subsets import check_name, stratified
from vicinal.errors import RunError

SEPARATORS = {"comma": ",", "semicolon": ";", "blank": None}  # None: any run of blanks or tabs
MISSING = ("?", "")


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """One row per sample; a column of numbers is a feature, any other is one-hot encoded.

    Missing numbers become the median of the training rows; a missing word counts as a word.
    A `table` may also be an .npz file of vectors, already split: then only `standardize` applies.
    """

    name: str = ""  # if empty, the stem of `table`
    table: str  # plain, .arff, .gz or .xz
    separator: Literal["comma", "semicolon", "blank"] = "comma"
    header: bool = False  # whether the first line names the columns
    label_column: int = -1  # counted from 0, or from the end by a negative number
    labels: str | None = None  # a second file with one label per line; then no column is the label
    test_share: float = 0.2
    split_seed: int = 0
    standardize: bool = True

    def __post_init__(self) -> None:
        for key in ("table", "labels"):
            path = getattr(self, key)
            if path is not None and not Path(path).expanduser().is_file():
                raise ValueError(f"{key} must be an existing file, got {path!r}")
        if not self.name:
            object.__setattr__(self, "name", Path(self.table).name.split(".")[0])
        check_name(self.name)
        if self.separator not in SEPARATORS:
            raise ValueError(
                f"separator must be one of {', '.join(SEPARATORS)}, got {self.separator}"
            )
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be between 0 and 1, got {self.test_share}")

    def load(self) -> Data:
        """Read, split, fill in missing numbers, and standardise by the training rows."""
        path = Path(self.table).expanduser()
        if path.suffix == ".npz":
            train, test = npz.vectors(path)
            marks = {"train": fingerprint(train), "test": fingerprint(test)}
        else:
            whole = self._read(path)
            marks = {"table": fingerprint(whole)}
            train, test = divided(whole, self.test_share, self.split_seed)
        return prepared(train, test, marks, standardize=self.standardize)

    def _read(self, path: Path) -> Split:
        table = read(path, SEPARATORS[self.separator], header=self.header)
        width = table.shape[1]
        if self.labels is not None:
            return samples(table, read(Path(self.labels).expanduser(), None)[:, 0])
        if width == 1:
            raise RunError(
                f"{path} must have more than one column, got 1 (dataset.separator is "
                f"{self.separator}, of {', '.join(SEPARATORS)})"
            )
        if -width <= self.label_column < width:
            features = np.delete(table, self.label_column, axis=1)
            return samples(features, table[:, self.label_column])
        raise RunError(
            f"dataset.label_column must be one of {width} columns, got {self.label_column}"
        )


def divided(whole: Split, test_share: float, seed: int) -> tuple[Split, Split]:
    """Training and test samples; a class with a single member is only trained on."""
    rows, test_rows = stratified(whole.y, test_share, seed)
    if len(test_rows) == 0:
        raise RunError(
            f"dataset.test_share must leave samples to test, got {test_share} of {len(whole)} "
            f"samples in {int(whole.y.max()) + 1} classes (one sample of each class is always "
            "trained on; dataset.label_column chooses the column of the classes)"
        )
    return whole[rows], whole[test_rows]


def prepared(
    train: Split,
    test: Split,
    marks: dict[str, str],
    *,
    standardize: bool,
    canonical: bool | None = None,
) -> Data:
    """Check the samples, and fill in missing numbers, by statistics of the training rows."""
    check(train, test)
    fill = medians(train.x)
    train, test = filled(train, fill), filled(test, fill)
    mean, std = statistics(train.x) if standardize else raw(train.x.shape[1])
    return Data(
        train=train,
        test=test,
        valid=None,
        num_classes=int(train.y.max()) + 1,
        mean=mean,
        std=std,
        fingerprint=marks,
        canonical=canonical,
    )


def read(path: Path, separator: str | None, *, header: bool = False) -> np.ndarray:
    """The cells of a text file: plain, .gz or .xz, with or without the head of an .arff."""
    opened = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:  # Excel writes a byte order mark
            return cells(file.read(), separator, str(path), header=header)
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise RunError(f"{path} must be a readable text file, got: {error}") from error


def cells(text: str, separator: str | None, name: str, *, header: bool = False) -> np.ndarray:
    """The table as stripped words, rows x columns; empty lines and an .arff's head are skipped."""
    lines = [line for line in text.splitlines() if line.strip()]
    head = [number for number, line in enumerate(lines) if line.strip().lower() == "@data"]
    lines = lines[head[0] + 1 if head else 0 :][int(header) :]
    if not lines:
        raise RunError(f"{name} must hold a table, got no line")
    rows = _split(lines, separator, name)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise RunError(
                f"{name} must have {len(rows[0])} columns in every line, got {len(row)} in "
                f"line {number} of the table"
            )
    return np.strings.strip(np.array(rows))


def _split(lines: list[str], separator: str | None, name: str) -> list[list[str]]:
    if separator is None:
        return [line.split() for line in lines]
    try:
        return list(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise RunError(f"{name} must have balanced quotes, got: {error}") from error


def samples(features: np.ndarray, labels: np.ndarray) -> Split:
    """Features and labels as numbers; a table of numbers alone is converted in one step."""
    if len(labels) != len(features):
        raise RunError(
            f"labels must be one per sample, got {len(labels)} labels for {len(features)} samples"
        )
    values = _numbers(features)
    if values is None:
        columns = [encoded(words, number) for number, words in enumerate(features.T)]
        values = np.concatenate(columns, axis=1)
    return Split(torch.from_numpy(values).float(), torch.from_numpy(numbered(labels)))


def encoded(column: np.ndarray, number: int) -> Float64[np.ndarray, "n k"]:
    """One column of numbers with NaN where missing, or one column per distinct word.

    A word above numbers is a header, and a word among many numbers an unknown mark for a missing
    one. Both are refused: one-hot encoding would make a column of each number.
    """
    values = _numbers(column)
    if values is not None:
        return values[:, None]
    distinct = np.unique(column)
    words = [word for word in distinct.tolist() if _numbers(np.array([word])) is None]
    rows = np.flatnonzero(np.isin(column, words))
    if rows.tolist() == [0] or len(distinct) > 10 * len(words):
        raise RunError(
            f"feature {number} (from 0) must be all numbers or all words, got numbers and in "
            f"{len(rows)} rows {', '.join(map(repr, words[:3]))} (a missing number is ? or "
            "empty; dataset.header=true skips a first line of names)"
        )
    if len(distinct) > max(10, len(column) / 2):
        raise RunError(
            f"feature {number} (from 0) must be numbers or words that recur, got {len(distinct)} "
            f"words in {len(column)} rows, such as {str(distinct[0])!r} (leave out names of rows; "
            "write decimals with a point)"
        )
    return (column[:, None] == distinct[None, :]).astype(np.float64)


def numbered(words: np.ndarray) -> Int64[np.ndarray, " n"]:
    """Labels as 0 .. k - 1, in numerical order if all are numbers, else in alphabetical order."""
    values = _numbers(words)
    missing = np.isin(words, MISSING) if values is None else np.isnan(values)
    if missing.any():
        raise RunError(f"labels must not be missing, got {int(missing.sum())} missing")
    return np.unique(words if values is None else values, return_inverse=True)[1].astype(np.int64)


def _numbers(words: np.ndarray) -> np.ndarray | None:
    """Convert to numbers, NaN where missing; None if any word is not a number."""
    try:
        values = np.where(np.isin(words, MISSING), "nan", words).astype(np.float64)
    except ValueError:
        return None
    return None if np.isinf(values).any() else values


def medians(x: Tensor) -> Tensor:
    """The median of the numbers in each column; 0 where there are none."""
    values = x.numpy()
    empty = np.isnan(values).all(0)
    return torch.from_numpy(np.nanmedian(np.where(empty, 0, values), axis=0))


def filled(split: Split, values: Tensor) -> Split:
    """Missing entries replaced, column by column."""
    x = torch.where(split.x.isnan(), values.to(split.x), split.x)
    return Split(x, split.y)


def statistics(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column; a constant one gets std 1."""
    std = x.double().std(0, correction=0)
    std[(x == x[0]).all(0)] = 1.0
    return tuple(x.double().mean(0).tolist()), tuple(std.tolist())


def raw(width: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and std that leave features unchanged."""
    return (0.0,) * width, (1.0,) * width
