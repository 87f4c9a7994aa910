"""Ask NVIDIA's own tool about the devices."""

import shutil
import subprocess


def query(fields: str) -> str | None:
    """Its answer to `--query-gpu`, a line per device; None if it is not installed."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip() or None
