"""timm's own train.py, which is not in its package: run it from a checkout and read its pace."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benches.pictures import folder
from benches.racing import Row, summary

LINE = re.compile(r"Train: \d+ \[ *(\d+)/\d+ .*?Time: [\d.]+s, +[\d.]+/s +\([\d.]+s, +([\d.]+)/s\)")
EVERY = 10  # steps between two lines


def measured(script: Path, name: str, setting: dict[str, str], seconds: float) -> Row:
    """Its pace over one epoch of JPEGs, without the first steps; `setting` has further options."""
    batch = int(setting["--batch-size"])
    with tempfile.TemporaryDirectory(prefix="vicinal-timm-") as root:
        folder(Path(root), train=60 * batch, validation=batch)
        options = {"--model": name, "--epochs": "1", "--output": root, "--log-interval": str(EVERY)}
        options["--amp-dtype"] = "bfloat16"
        words = [word for pair in (options | setting).items() for word in pair]
        command = [sys.executable, str(script.resolve()), root, *words, "--channels-last", "--amp"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds, cwd=root, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"train.py was still running after {seconds:.0f} s"}
    if done.returncode:
        return {"error": f"train.py: {(done.stderr.strip().splitlines() or ['failed'])[-1]}"}
    return pace(done.stdout + done.stderr, batch)


def pace(log: str, batch: int) -> Row:
    """Images per second between the second line of the log and the last.

    A line's second rate is the mean since the epoch began, so the seconds it implies are
    subtracted.
    """
    lines = [(int(step) + 1, float(rate)) for step, rate in LINE.findall(log)]
    if len(lines) < 3:
        return {"error": f"train.py: only {len(lines)} lines of its log have a pace"}
    (first, early), (last, late) = lines[1], lines[-1]
    seconds = batch * (last / late - first / early)
    rate = batch * (last - first) / seconds
    return {"precision": "bf16"} | summary([rate])
