"""What NVIDIA's own tool says of the devices."""

import shutil
import subprocess


def told(query: str) -> str | None:
    """Its answer to `--query-gpu`, a line per device; None where there is no such tool."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={query}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip() or None
