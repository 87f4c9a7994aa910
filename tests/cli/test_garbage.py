"""When Python looks for garbage."""

import gc

import pytest

from vicinal.cli.garbage import uncollected
from vicinal.errors import RunError


def test_garbage_is_collected_again_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(RunError, match="x"), uncollected():
        raise RunError("x")
    assert gc.isenabled()
