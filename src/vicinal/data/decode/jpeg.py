"""Shorten baseline JPEGs, so that no time is spent on the rows below a crop.

A JPEG is decoded from top to bottom, and its header says how many rows there are. With a smaller
number the decoder stops there; the rows above are the same, bit for bit.
"""

import re
import struct
from typing import NamedTuple

SOI, EOI = b"\xff\xd8", b"\xff\xd9"  # the first and the last marker of a file
BASELINE, SCAN = (0xC0, 0xC1), 0xDA
BESIDES = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))  # tables, comments, metadata
MARKER = re.compile(rb"\xff[^\0]")  # among codes, 0xFF is followed by 0
SEGMENT, SIZE = struct.Struct(">BBHB"), struct.Struct(">HH")
MOST_PIXELS = 1 << 26  # Pillow warns of larger images, and refuses the largest
BELOW = 2  # rows: colours of half resolution are interpolated with the next row of theirs
WORTH = 0.95  # of the height: what is left of a taller part costs less than the search for markers


class Frame(NamedTuple):
    """The size of a JPEG, and where its file has the height and the scan."""

    width: int
    height: int
    place: int
    scan: int


def frame(data: bytes) -> Frame | None:
    """The frame of a baseline JPEG; None for all other files."""
    size, place, at = None, 0, len(SOI)
    while data.startswith(SOI) and at + SEGMENT.size + SIZE.size <= len(data):
        mark, kind, length, _ = SEGMENT.unpack_from(data, at)
        if mark == 0xFF and kind == SCAN and size is not None:
            return Frame(size[1], size[0], place, at + 2 + length)
        if mark == 0xFF and kind in BASELINE and size is None:
            place = at + SEGMENT.size
            size = SIZE.unpack_from(data, place)
            if not 0 < size[0] * size[1] <= MOST_PIXELS:
                return None
        elif mark != 0xFF or kind not in BESIDES:
            return None
        at += 2 + length
    return None


def shortened(data: bytes, frame: Frame, rows: int) -> bytes:
    """The same file with fewer rows, of which the first `rows` are unchanged.

    Files with a marker in their scan, or without an end, are left as they are: a damaged one is to
    be refused by its decoder wherever the crop lies.
    """
    height = rows + BELOW
    if height > WORTH * frame.height or not _is_whole(data, frame.scan):
        return data
    return data[: frame.place] + struct.pack(">H", height) + data[frame.place + 2 :]


def _is_whole(data: bytes, scan: int) -> bool:
    first = MARKER.search(data, scan)
    return first is not None and first.end() == len(data) and first.group() == EOI
