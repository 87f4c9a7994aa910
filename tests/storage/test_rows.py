"""Rows are on disk once they are measured, and what a kill or damage left is measured again."""

import csv
from pathlib import Path

import pytest

from vicinal.storage.evaluations import KeptRows
from vicinal.storage.rows import Rows

COLUMNS = ("idx", "label", "radius", "time")
NUMBERS = {
    "0": {"label": 3.0, "radius": 0.1 + 0.2, "time": 3723.000004},
    "20": {"label": -1.0, "radius": 0.0, "time": 0.0},
    "40": {"label": 7.0, "radius": 1e-17, "time": 359_999.5},
}
WHOLE = (
    b"idx\tlabel\tradius\ttime\n"
    b"0\t3\t0.30000000000000004\t1:02:03.000004\n"
    b"20\t-1\t0\t0:00:00.000000\n"
    b"40\t7\t1e-17\t99:59:59.500000\n"
)


def completed(path: Path) -> list[str]:
    """The parts that are measured until the table is whole."""
    measured = list[str]()

    def measure(name: str) -> dict[str, float]:
        measured.append(name)
        return NUMBERS[name]

    assert KeptRows(path, "certified", False, COLUMNS)(tuple(NUMBERS), measure) == NUMBERS
    assert path.read_bytes() == WHOLE
    return measured


def test_numbers_read_back_exactly(tmp_path: Path) -> None:
    table = Rows(tmp_path / "evaluations" / "table.tsv", COLUMNS)
    for name, numbers in NUMBERS.items():
        table.append(name, numbers)
    assert table.path.read_bytes() == WHOLE
    assert table.recover() == NUMBERS
    assert table.path.read_bytes() == WHOLE
    with table.path.open(newline="") as file:
        read = list(csv.DictReader(file, delimiter="\t"))
    assert [tuple(row) for row in read] == [COLUMNS] * 3
    assert [float(row["radius"]) for row in read] == [0.1 + 0.2, 0.0, 1e-17]


def test_after_a_cut_at_any_byte_the_table_becomes_whole_again(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    for length in range(len(WHOLE) + 1):
        path.write_bytes(WHOLE[:length])
        assert completed(path) == list(NUMBERS)[max(WHOLE[:length].count(b"\n") - 1, 0) :]


@pytest.mark.parametrize(
    ("right", "damaged", "kept"),
    [
        (b"idx\tlabel", b"idx\tclass", 0),
        (b"\n0\t3", b"\r\n0\t3", 0),
        (b"0.30000000000000004", b"0.3O000000000000004", 0),
        (b"\t-1\t", b"\t-1\t0\t", 1),
        (b"\t-1\t", b" -1 ", 1),
        (b"\t0\t0:00", b"\tnan\t0:00", 1),
        (b"0:00:00.000000", b"0.0", 1),
        (b"1e-17", b"\0\0\0\0\0", 2),
        (b"1e-17", b"\xff\xff\xff\xff\xff", 2),
    ],
)
def test_rows_are_measured_again_from_the_first_damaged_one(
    right: bytes, damaged: bytes, kept: int, tmp_path: Path
) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(WHOLE.replace(right, damaged, 1))
    assert completed(path) == list(NUMBERS)[kept:]


def test_each_row_is_on_disk_before_the_next_is_measured(tmp_path: Path) -> None:
    path, seen = tmp_path / "evaluations" / "table.tsv", list[int]()

    def measure(name: str) -> dict[str, float]:
        seen.append(path.read_bytes().count(b"\n") if path.exists() else 0)
        return NUMBERS[name]

    KeptRows(path, "certified", False, COLUMNS)(tuple(NUMBERS), measure)
    assert seen == [0, 2, 3]
