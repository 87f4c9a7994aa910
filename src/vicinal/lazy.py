"""`from vicinal.methods import MaxUp`, without a list of names that each new file must join."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any


def by_class_name(package: str) -> Callable[[str], Any]:
    """A package's `__getattr__`: a class lies in the module of its own name (MaxUp in maxup)."""

    def find(name: str) -> Any:
        spec = find_spec(package)
        assert spec is not None
        for module in iter_modules(spec.submodule_search_locations):
            if module.name.replace("_", "") == name.lower():
                return getattr(import_module(f"{package}.{module.name}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
