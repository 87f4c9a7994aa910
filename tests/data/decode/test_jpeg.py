"""A shortened JPEG has the same rows as far as it goes; other files are left as they are."""

import io
import struct
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import photos
import pytest

from vicinal.data.decode.crops import CorruptError, Crop, render, rgb
from vicinal.data.decode.jpeg import MOST_PIXELS, Frame, frame, shortened

CROP = Crop(size=24, resize=28)
SHAPE = (83, 101)


def encoded(mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    whole = photos.originals()[0].crop((70, 90, 70 + SHAPE[0], 90 + SHAPE[1]))
    whole.convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def found(data: bytes) -> Frame:
    of = frame(data)
    assert of is not None
    return of


def outcome(crop: Crop, path: Path, seed: int, whole: bool) -> bytes | str:
    """The pixels of a crop, or why there are none."""
    try:
        if whole:
            return crop(rgb(path.read_bytes()), seed).tobytes()
        return render(crop, str(path), seed)
    except CorruptError as error:
        return str(error)


@pytest.mark.parametrize("subsampling", [0, 1, 2])  # 2 halves the colours' rows
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_rows_are_the_same_as_far_as_they_go(mode: str, subsampling: int) -> None:
    more = {"subsampling": subsampling} if mode == "RGB" else {}
    data = encoded(mode, quality=90, optimize=True, **more)
    of, whole = found(data), np.asarray(rgb(data))
    assert of[:2] == SHAPE
    for rows in range(1, 93):
        upper = np.asarray(rgb(shortened(data, of, rows)))
        assert len(upper) == rows + 2
        assert np.array_equal(upper[:rows], whole[:rows])


@pytest.mark.parametrize("rows", [94, 99, 101])
def test_the_last_rows_are_not_worth_it(rows: int) -> None:
    data = encoded()
    assert shortened(data, found(data), rows) == data


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"comment": "\xff\xd9"}]
)
def test_a_crop_is_that_of_the_whole_image(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(**options))
    for seed in range(40):
        assert outcome(CROP, path, seed, whole=False) == outcome(CROP, path, seed, whole=True)


@pytest.mark.parametrize("left", [0.3, 0.8, 0.999])
def test_a_cut_file_is_refused_wherever_the_crop_lies(left: float, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    data = encoded()
    path.write_bytes(data[: int(left * len(data))])
    boxes = ((seed, CROP.box(*SHAPE, Random(seed))) for seed in range(100))
    top = next(seed for seed, box in boxes if box.top + box.height < 50)
    with pytest.raises(CorruptError, match="truncated"):
        render(CROP, str(path), top)


def test_damaged_files_come_out_as_if_decoded_in_full(tmp_path: Path) -> None:
    """Refused for the same reason, or with the same pixels."""
    path, draws, refused = tmp_path / "photo.jpg", Random(0), 0
    data = encoded(quality=90)
    for seed in range(120):
        damaged = bytearray(data)
        for _ in range(draws.choice([1, 3, 20])):
            place = draws.randrange(draws.choice([700, len(data)]))
            damaged[place] = draws.choice([0, 0xFF, draws.randrange(256)])
        place = draws.randrange(len(data))
        if seed % 3 == 0:
            damaged[place:place] = bytes([0xFF, draws.randrange(256)])
        path.write_bytes(damaged)
        expected = outcome(CROP, path, seed, whole=True)
        assert outcome(CROP, path, seed, whole=False) == expected
        refused += isinstance(expected, str)
    assert 12 < refused < 108


@pytest.mark.parametrize("code", [0xC0, 0xD9, 0xDA, 0xFE])
def test_a_file_with_a_marker_in_its_scan_is_left_alone(code: int) -> None:
    data = encoded()
    of = found(data)
    middle = (of.scan + len(data)) // 2
    for damaged in (data[:middle] + bytes([0xFF, code]) + data[middle:], data + b"more", data * 2):
        assert shortened(damaged, of, 20) == damaged
    assert shortened(data, of, 20) != data


def test_what_is_no_ordinary_jpeg_has_no_frame() -> None:
    data = encoded()
    of = found(data)
    others = [b"", data[:2], data[: of.scan - 20], b"\x89PNG" + data[4:], b"x" + data]
    others.append(encoded(progressive=True))
    segment = data[of.place - 5 : of.place + 12]
    others.append(data[: of.place - 5] + segment + data[of.place - 5 :])  # its frame twice
    for size in ((0, 83), (101, 0), (1 << 13, (MOST_PIXELS >> 13) + 1)):
        others.append(data[: of.place] + struct.pack(">HH", *size) + data[of.place + 4 :])
    assert [frame(other) for other in others] == [None] * len(others)
