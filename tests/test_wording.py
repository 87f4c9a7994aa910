"""The pattern that stands for a message in the tests."""

import re

import pytest
from wording import says

MESSAGE = "method.copies must be at least 1, got 0.5 (m = 10; of -3)"


@pytest.mark.parametrize(
    ("parts", "fits"),
    [
        ("^method.copies ... 1 ... 0.5", True),
        ("0.5 ... method.copies ... -3", True),
        ("^copies", False),
        ("cop", False),
        ("^must", False),
        ("method.copies ... 0", False),
        ("method.copies ... 5", False),
        ("method.copies ... 3", False),
        ("method,copies", False),
        ("method.copies ... 2", False),
    ],
)
def test_a_message_is_known_by_its_parts(parts: str, fits: bool) -> None:
    assert bool(re.search(says(parts), MESSAGE)) == fits
    assert bool(re.search(says(parts), f"{MESSAGE}\nand more")) == fits
