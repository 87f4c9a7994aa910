"""A small text, and the settings of a run on it."""

from pathlib import Path
from random import Random

SMALL = (
    "model=awd_lstm model.embedding=8 model.hidden=12 model.layers=2 runtime=cpu "
    "runtime.threads=1 runtime.checkpoint_seconds=0 runtime.progress=false "
    "schedule.epochs=2 schedule.restarts=0 schedule.batch_size=4 optimizer.lr=2 "
    "optimizer.mean_from=0.5 clean.columns=2 dataset.bptt=10"
).split()


def sentences(folder: Path) -> Path:
    """Write sentences in which each word but the first follows from the word before it."""
    drawn = Random(0)
    for name, count in (("train", 120), ("valid", 20), ("test", 20)):
        firsts = [drawn.randrange(5) for _ in range(count)]
        lines = [" ".join(f"w{first * 2**k % 11}" for k in range(4)) for first in firsts]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder
