"""The rooms of the package: which there are, and that imports between them only point down."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vicinal

SOURCE = Path(vicinal.__file__).parent
LAYERS = (  # from the top; a room imports from lower layers alone
    ("commands",),
    ("train",),
    ("run", "report", "figures", "adapters"),
    ("launching", "training", "tables"),
    ("loop", "evaluation", "tasks"),
    ("methods",),
    ("data",),
    ("vicinities", "attacks"),
    ("images", "surgery", "losses", "schedules"),
    ("storage",),
    ("cli",),
    ("machine", "models", "optim", "loggers"),
    ("contracts",),
    ("draws", "errors"),
)
LAYER = {room: number for number, layer in enumerate(LAYERS) for room in layer}


def imports(path: Path) -> Iterator[str]:
    """The rooms that a module imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vicinal"):
            _, *inside = str(node.module).split(".")
            yield from inside[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] for name in names if name[0] == "vicinal" and len(name) > 1)


def test_every_room_has_its_layer() -> None:
    rooms = {path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py")}
    assert {room.removesuffix(".py") for room in rooms} - {"__init__"} == set(LAYER)
    assert len([path for path in SOURCE.glob("*.py") if path.stem != "__init__"]) <= 10


@pytest.mark.parametrize("room", sorted(LAYER))
def test_imports_point_down(room: str) -> None:
    folder = SOURCE / room
    for path in folder.rglob("*.py") if folder.is_dir() else [SOURCE / f"{room}.py"]:
        for other in imports(path):
            assert other == room or LAYER[other] > LAYER[room], f"{path} imports {other}"


def test_the_command_line_does_without_torch() -> None:
    modules = [f"vicinal.cli.{path.stem}" for path in (SOURCE / "cli").glob("[!_]*.py")]
    lines = [
        f"import {', '.join([*modules, 'vicinal.train', 'sys'])}",
        "sys.exit('torch' in sys.modules)",
    ]
    assert subprocess.run([sys.executable, "-c", "; ".join(lines)], check=False).returncode == 0
