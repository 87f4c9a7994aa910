"""What the times mean: ratios, shares of the floor, targets, and a table of everything."""

from statistics import median
from typing import Any

from benches.floors import Work
from benches.racing import Row

FASTER = 8.0  # than the bare loop: the target
EPOCH = 50_000  # images: CIFAR's training set


def compared(row: Row, erm: Row) -> Row:
    """Add the time per image over that of ERM's loop, if both were measured."""
    if "windows" not in row or "windows" not in erm:
        return row
    ours, own = erm["windows"], row["windows"]
    if len(ours) != len(own):  # measured by another process
        ours, own = [erm["images_per_second"]], [row["images_per_second"]]
    return row | {"over_erm": median(a / b for a, b in zip(ours, own, strict=True))}


def shared(row: Row, work: Work, batch: int, peaks: dict[str, dict[str, float]]) -> Row:
    """Add the floor of a step, and its share of the step's time."""
    if "images_per_second" not in row:
        return row
    floors = {}
    for kind, each in peaks.items():
        floor = work.floor(batch, row["precision"], each)
        share = floor["seconds"] * row["images_per_second"] / batch
        floors[kind] = floor | {"share": share}
    return row | {"floors": floors}


def targets(networks: dict[str, Any]) -> list[Row]:
    """Each target, the figure found (None: not measured), and whether it meets the target."""
    rows = []
    for name, network in networks.items():
        if network["target"] is not None:
            epochs, seconds = network["target"]
            found = network["epoch"].get("seconds")
            claim = f"{name}: seconds of {epochs} epochs, each with its evaluation, at most"
            total = None if found is None else epochs * found
            met = None if total is None else total <= seconds
            rows.append({"claim": claim, "target": seconds, "found": total, "met": met})
        ratio = network["contenders"].get("bare loop", {}).get("over_erm")
        claim, met = f"{name}: times as fast as the bare loop, at least", None
        if ratio is not None:
            met = ratio >= FASTER
        rows.append({"claim": claim, "target": FASTER, "found": ratio, "met": met})
    return rows


def not_measured(networks: dict[str, Any]) -> list[str]:
    """Everything without a figure, and why."""
    gaps = []
    for name, network in networks.items():
        rows = network["contenders"] | {"whole epochs": network["epoch"]}
        short = (row for row in rows.items() if {"not_measured", "error"} & row[1].keys())
        gaps += [f"{name}: {described(contender, row)}" for contender, row in short]
    return gaps


def described(name: str, row: Row) -> str:
    """One row in words."""
    if "images_per_second" in row:
        return f"{name}, {row['images_per_second']:.0f} images/s"
    return f"{name}: failed, {row['error']}" if "error" in row else f"{name}: {row['not_measured']}"


def table(result: dict[str, Any]) -> str:
    """All figures on one page."""
    kind = "published" if "published" in result["peaks"] else "measured"
    lines = [
        f"{result['device']['name']}; floors by {kind} peaks; an epoch is {EPOCH:,} images; "
        "over ERM: the time per image over ERM's, also for other loops",
        f"{'':34}{'images/s':>10}{'spread':>8}{'s/epoch':>9}{'min/200':>9}{'floor':>7} "
        f"{'bound by':11}{'GiB':>6}{'over ERM':>10}{'warm-up s':>11}",
    ]
    for name, network in result["networks"].items():
        lines.append(f"{name}, batch {network['batch']}, {network['shape'][1]} pixels")
        rows = network["contenders"].items()
        lines += [line(contender, row, kind) for contender, row in rows if "windows" in row]
        if "seconds" in (epoch := network["epoch"]):
            parts = f"{epoch['train_seconds']:.2f} s + {epoch['evaluate_seconds']:.2f} s evaluation"
            lines.append(f"  whole epochs: {parts}; first: {epoch['first_seconds']:.1f} s")
    lines += ["targets"]
    for row in result["targets"]:
        found = "not measured" if row["found"] is None else f"{row['found']:.2f}"
        verdict = {True: "met", False: "missed", None: ""}[row["met"]]
        lines.append(f"  {row['claim']} {row['target']:g}: {found} {verdict}".rstrip())
    gaps = result["not_measured"]
    return "\n".join([*lines, *(["not measured"] if gaps else []), *(f"  {gap}" for gap in gaps)])


def line(name: str, row: Row, kind: str) -> str:
    """The line of one contender."""
    rate = row["images_per_second"]
    epoch = EPOCH / rate
    floor = row.get("floors", {}).get(kind)
    share, bound = (f"{floor['share']:.1%}", floor["bound"]) if floor else ("", "")
    memory = f"{row['peak_bytes'] / 2**30:.2f}" if "peak_bytes" in row else ""
    warmup = f"{row['warmup_seconds']:.1f}" if "warmup_seconds" in row else ""
    ratio = f"{row['over_erm']:.3f}" if "over_erm" in row else ""
    return (
        f"  {name:32}{rate:10.0f}{row['spread']:8.1%}{epoch:9.2f}{epoch * 200 / 60:9.1f}{share:>7} "
        f"{bound:11}{memory:>6}{ratio:>10}{warmup:>11}"
    )
