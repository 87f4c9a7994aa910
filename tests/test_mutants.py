"""The list of faults that the tests must notice fits the code; `make mutants` plants them."""

from collections import Counter

import mutants
import pytest
from mutants import Mutant

FAULTS = mutants.load()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.claim)
def test_a_fault_still_fits_the_code_and_its_tests(fault: Mutant) -> None:
    assert fault.problem() is None


def test_no_claim_is_made_twice_of_one_file() -> None:
    claims = Counter((fault.path, fault.claim) for fault in FAULTS)
    assert claims.most_common(1)[0][1] == 1


def test_an_entry_that_no_longer_fits_is_named() -> None:
    right = FAULTS[0]
    for wrong in (
        {"old": "what stands nowhere"},
        {"old": "import"},
        {"new": right.old},
        {"path": "src/vicinal/nowhere.py"},
        {"tests": ["tests/test_mutants.py::test_what_is_not_there"]},
        {"tests": ["tests/test_nowhere.py::test_a"]},
    ):
        assert Mutant(**{**vars(right), **wrong}).problem() is not None
