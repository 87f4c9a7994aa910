"""`vicinal.load(FOLDER)` loads a trained network; torch is imported when it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vicinal.storage.loading import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("vicinal.storage.loading"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
