"""What is worth copying from the machine, in order of value: OUT/carry.txt, one path per line.

`tar -C OUT -czf FILE -T OUT/carry.txt` packs it. For a finished run it lists the record, the
curves and the kept weights; for an unfinished one its newest checkpoint, from which it resumes.
"""

from collections.abc import Iterator
from pathlib import Path

MOST = 48 << 20  # bytes of weights; if there are more, bf16 copies are listed (gpu_session.halve)
PARTLY = ("cache", "data", "runs", "sweep", "gan")  # folders of which some files are listed


def kept(out: Path) -> list[Path]:
    """The weights of finished runs."""
    return sorted((out / "runs").rglob("weights/[!.]*[!6].safetensors"))


def copy_of(path: Path) -> Path:
    """The path of the weights' bf16 copy."""
    return path.with_name(f"{path.stem}.bf16.safetensors")


def too_large(out: Path) -> bool:
    """Whether all weights together are too large to copy."""
    return size(kept(out)) > MOST


def unfinished(out: Path) -> dict[Path, Path]:
    """The folders of unfinished runs, with the newest checkpoint of each."""
    newest: dict[Path, Path] = {}
    for root in ("runs", "gan"):
        for path in sorted((out / root).rglob("checkpoints/epoch*.pt")):
            folder, figure = path.parents[1], out / "figures" / "figure5.json"
            whole = folder / "record.json" if root == "runs" else figure
            if not whole.exists():
                newest[folder] = path
    return newest


def listed(out: Path) -> list[Path]:
    """All paths, each once."""
    return list(dict.fromkeys(_listed(out)))


def write(out: Path) -> None:
    """Write the list, relative to its own folder."""
    lines = [f"{path.relative_to(out)}\n" for path in listed(out)]
    (out / "carry.txt").write_text("".join(lines))


def size(paths: list[Path]) -> int:
    """Bytes of all together."""
    return sum(path.stat().st_size for path in paths)


def _listed(out: Path) -> Iterator[Path]:
    yield from sorted(path for path in out.glob("*.*") if path.is_file())
    yield from sorted(path for path in (out / "results").rglob("*.json"))
    yield from sorted(path for path in (out / "figures").rglob("*.*"))
    for name in ("record.json", "history.jsonl"):
        yield from sorted((out / "runs").rglob(name))
    yield from sorted((out / "sweep" / "sweeps").glob("*.log"))
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.relative_to(out).parts[0] not in PARTLY:
            yield path
    yield from unfinished(out).values()
    weights = kept(out)
    copies = [copy_of(path) for path in weights]
    yield from copies if too_large(out) and all(map(Path.exists, copies)) else weights
