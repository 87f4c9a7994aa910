"""The annotations of constructors decide which values a config may have."""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Any, Literal

import pytest
from standins import Vicinity

from vicinal.cli.annotations import AN_OBJECT, fault_in, wanted


@pytest.mark.parametrize(
    ("value", "hint", "words"),
    [
        (1, float, None),
        (True, int, "an integer"),
        (1, bool, "true or false"),
        ("x", Path, None),
        ([1, 2.5], list[float], None),
        ([1, "x"], Sequence[int], "an integer"),
        ([[1, 2], [3]], tuple[tuple[int, int], ...], "a list of 2 values"),
        ({"a": 1}, dict[str, int], None),
        ({"a": "x"}, Mapping[str, int], "an integer"),
        ("a", Literal["a", "b"], None),
        (1, Literal[True, 2], "True or 2"),
        ("relu", Callable[[float], float], AN_OBJECT),
        (3, Vicinity, AN_OBJECT),
        ({"_target_": "x"}, Vicinity, None),
        (None, Vicinity | None, None),
        ([1, "x"], list[int] | None, "an integer"),
        ("x", int | list[int], "an integer or a list [...]"),
        ("anything", Any, None),
        ("anything", object, None),
        (None, Parameter.empty, None),
    ],
)
def test_annotations_decide(value: object, hint: Any, words: str | None) -> None:
    fault = fault_in("key", value, hint)
    assert (fault and wanted(fault[2], fault[1])) == words
