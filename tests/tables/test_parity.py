"""The table of comparisons with the authors' code says what the docstrings say."""

import pytest

from vicinal.tables.parity import Parity, code_fields, parity


def test_a_field_is_taken_apart() -> None:
    field = (
        "owner/name (commit 0123abc) train.py, of 2020. Compared step by step, with `loss: bce`: "
        "gradient within 6e-16, weights within 4e-16. More of it: nothing."
    )
    assert parity("it", field) == Parity(
        "[owner/name@0123abc](https://github.com/owner/name/tree/0123abc)",
        "step by step, with `loss: bce`",
        "gradient within 6e-16, weights within 4e-16",
    )


def test_what_was_not_compared_or_not_released_has_no_difference() -> None:
    link = "[owner/name](https://github.com/owner/name)"
    found = parity("it", "owner/name (main) train.py. Not compared.")
    assert found == Parity(link, "not compared", "")
    assert parity("it", "none released; we asked") == Parity("none released", "", "")


@pytest.mark.parametrize(
    "field",
    [
        "owner/name train.py. Not compared.",
        "owner/name (main) train.py",
        "owner/name (main). Not compared. Compared twice: loss within 1e-3.",
    ],
)
def test_a_field_that_leaves_something_open_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=r"^Code: of it must .*owner/name"):
        parity("it", field)


def test_every_method_is_in_it() -> None:
    names = [name for name, _ in code_fields()]
    assert {"erm", "maxup", "gradaug", "augmax", "patchup"} < set(names)
    assert "puzzle" not in names  # half of a method, without fields of its own
