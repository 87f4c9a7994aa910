"""Export a finished run's network: weights and what describes them, no code."""

from pathlib import Path

from vicinal.errors import RunError
from vicinal.storage.exported import SUFFIX, Exported
from vicinal.storage.files import write_bytes_atomically
from vicinal.storage.hub import write_folder


def export(folder: Path, out: Path, report: str = "last") -> str:
    """Write OUT.safetensors, or a folder for the Hugging Face Hub; return the lines that load it.

    A name without a suffix is that of a folder.
    """
    if out.suffix not in (SUFFIX, "") and not out.is_dir():
        raise RunError(f"{out} must end in {SUFFIX}, or be a folder: a name without a suffix")
    exported = Exported.of_run(folder, report)
    if out.suffix == SUFFIX:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(out, exported.content())
    else:
        write_folder(exported, out)
    return "\n".join(exported.lines(out))
