"""Do to runs and inputs what disks, clusters, networks and people do; count what survives.

python scripts/torture.py                        everything, as often as the closing note counts
python scripts/torture.py kills typos --share 0.1    two faults, a tenth as often
Exits non-zero where anything did not survive; says of each what it was and how to see it again.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults import disks, inputs, kills, lost, typos
from faults.children import Trials, warm_up

from vicinal.storage.files import write_json_atomically
from vicinal.storage.provenance import provenance

FAULTS: dict[str, tuple[Callable[[Path, random.Random, int], Trials], int]] = {
    "kill_in_write": (kills.in_a_write, 240),
    "kill": (kills.anywhere, 72),
    "preempt": (kills.asked, 60),
    "two_runs": (kills.beside_another, 30),
    "lost_rank": (lost.rank, 20),
    "truncated": (disks.truncated, 300),
    "flipped": (disks.flipped, 300),
    "disk_full": (disks.full, 60),
    "nan": (disks.not_finite, 40),
    "half_lines": (disks.half_lines, 30),
    "half_lines_alone": (disks.lines_cut, 1000),
    "records_twice": (disks.twice, 200),
    "pickles": (inputs.pickles, 600),
    "downloads": (inputs.downloads, 300),
    "archives": (inputs.archives, 120),
    "no_network": (inputs.without_network, 4),
    "typos": (typos.typed, 3000),
    "typos_in_sweeps": (typos.sweep, 20),
}


def main() -> None:
    """Try each fault; print the table."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--share", type=float, default=1.0, help="of each fault's trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the table as JSON, too")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.faults if name not in FAULTS]
    if unknown:
        parser.error(f"unknown fault {', '.join(unknown)}; known: {', '.join(FAULTS)}")
    warm_up()
    rows = []
    print(f"{'fault':18}{'tried':>7}{'survived':>10}{'seconds':>9}  remark", flush=True)
    with tempfile.TemporaryDirectory(prefix="vicinal-torture-") as folder:
        for name in arguments.faults or FAULTS:
            row = attempt(name, arguments.share, arguments.seed, Path(folder))
            rows.append(row)
            counts = f"{row['tried']:7}{row['survived']:10}{row['seconds']:9.0f}"
            print(f"{name:18}{counts}  {row['remark']}", flush=True)
            for failure in row["failures"]:
                print(f"    {failure}", flush=True)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        made = {"seed": arguments.seed, "share": arguments.share, **provenance("cpu")}
        write_json_atomically(arguments.out, {"faults": rows, "made": made})
    tried, survived = (sum(row[key] for row in rows) for key in ("tried", "survived"))
    print(f"{tried} tried, {survived} survived")
    sys.exit(survived < tried)


def attempt(name: str, share: float, seed: int, root: Path) -> dict[str, Any]:
    """One fault, as often as asked, in a folder of its own; the first failures in words."""
    fault, most = FAULTS[name]
    draw, began = random.Random(f"{name} {seed}"), time.monotonic()
    tried, failures = 0, []
    with tempfile.TemporaryDirectory(dir=root) as folder:
        trials = fault(Path(folder), draw, max(1, round(share * most)))
        while True:
            try:
                failure = next(trials)
            except StopIteration as end:
                remark = end.value or ""
                break
            except AssertionError as error:  # a child failed that nothing had befallen
                tried, remark = tried + 1, "given up"
                failures.append(str(error))
                break
            tried += 1
            failures += [failure] if failure else []
    row = {"fault": name, "tried": tried, "survived": tried - len(failures)}
    row |= {"seconds": round(time.monotonic() - began, 1), "remark": remark}
    return row | {"failures": [json.dumps(each)[1:-1] for each in failures[:10]]}


if __name__ == "__main__":
    main()
