"""The versions of what is installed, read without importing it."""

from importlib.metadata import PackageNotFoundError, version


def installed(name: str) -> str | None:
    """A package's version; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def versions() -> str:
    """What --version says."""
    ours = installed("vicinal") or "(not installed)"
    return f"vicinal {ours}, torch {installed('torch')}"
