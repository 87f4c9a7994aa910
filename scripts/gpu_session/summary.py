"""Everything known so far, on one page of Markdown."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from gpu_session import carry
from gpu_session.choose import LIKE, Measured, difference
from gpu_session.pool import Row, read
from vicinal.storage.files import write_bytes_atomically
from vicinal.storage.records import headline

Lines = Iterator[str]
SHOWN = 8  # of a list that may be long


def write(out: Path) -> None:
    """Write OUT/summary.md and OUT/carry.txt."""
    write_bytes_atomically(out / "summary.md", page(out).encode())
    carry.write(out)


def page(out: Path) -> str:
    """The page as Markdown."""
    known = Measured.under(out)
    sections = {
        "Parts": parts(read(out / "parts.json") or {}),
        "Machine": machine(read(out / "machine.json")),
        "Steps": steps(known.steps),
        "Tests": tests(out / "tests.jsonl"),
        "Pace": pace(known.pace),
        "Concurrency": concurrency(known),
        "Sweep": sweep(read(out / "sweep.json")),
        "Runs": runs(known.runs),
        "To copy": carried(out),
    }
    texts = {title: "\n".join(lines) for title, lines in sections.items()}
    body = [f"## {title}\n\n{text}\n" for title, text in texts.items() if text]
    return "\n".join(["# GPU session\n", *body])


def grid(*head: str) -> list[str]:
    """The first two lines of a table."""
    return [row(*head), row(*["---"] * len(head))]


def row(*cells: object) -> str:
    """One line of a table."""
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def quoted(title: str, tail: str) -> Lines:
    """The last lines of some output."""
    yield f"\n{title}\n"
    yield from ("```", *tail.replace("```", "'''").splitlines(), "```")


def parts(found: Mapping[str, Row]) -> Lines:
    """How each part went, in the order in which they ran."""
    ordered = sorted(found.items(), key=lambda item: item[1]["began"])
    yield from grid("part", "state", "seconds", "reason")
    for name, note in ordered:
        yield row(name, note["state"], f"{note['seconds']:.0f}", note.get("reason", ""))
    for name, note in ordered:
        if note.get("tail"):
            yield from quoted(f"{name}:", note["tail"])


def machine(found: Row | None) -> Lines:
    """Devices and versions."""
    if found is None:
        return
    git = found["git"] or {"commit": "unknown", "dirty": False}
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items() if value)
    yield f"- commit: {git['commit']}{' with changes' if git['dirty'] else ''}"
    yield f"- device: {found['driver'] or found['device']['name']}"
    yield f"- {found['allowed_cores']} cores, {found['machine']['processor']}"
    yield f"- {versions}"
    if found["missing"]:
        yield f"- missing modules: {', '.join(found['missing'])}"


def steps(found: Mapping[str, Row]) -> Lines:
    """A matrix: time of the last step, or what is wrong."""
    forms = list(dict.fromkeys(item.rpartition(".")[2] for item in found))
    forms.sort(key=lambda form: (len(form) > 4, form))
    subjects = list(dict.fromkeys(item.rpartition(".")[0] for item in found))
    if not subjects:
        return
    failed = {item: each for item, each in found.items() if "error" in each}
    other = [item for item in found if (difference(found, item) or 0) > LIKE]
    counts = f"{len(failed)} failed, {len(other)} with another loss than fp32"
    yield f"{len(found)} combinations: {counts}."
    yield "Milliseconds of the last step; ≠: the first loss is not that in fp32.\n"
    yield from grid("", *forms)
    for subject in subjects:
        cells = [cell(found, f"{subject}.{form}") for form in forms]
        yield row(subject.replace("=", " "), *cells)
    for item, each in failed.items():
        yield from quoted(f"{item}: {each['error']}", each.get("tail", ""))


def cell(found: Mapping[str, Row], item: str) -> str:
    """The cell of one combination."""
    each = found.get(item)
    if each is None:
        return ""
    if "error" in each:
        return "**failed**"
    distance = difference(found, item) or 0
    mark = f" ≠ {distance:.1%}" if distance > LIKE else ""
    return f"{1000 * each['seconds'][-1]:.1f}{mark}"


def tests(file: Path) -> Lines:
    """Outcomes, and the output of failed tests."""
    if not file.exists():
        return
    found = [json.loads(line) for line in file.read_text().splitlines()]
    counts = Counter(each["outcome"] for each in found)
    yield ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    for each in found:
        if each["outcome"] == "failed":
            yield from quoted(each["test"], each["tail"])


def pace(found: Mapping[str, Row]) -> Lines:
    """Images per second, against the bare loop and the floor."""
    if not found:
        return
    yield from grid(
        "network", "loop", "images/s", "spread", "floor", "over bare", "GiB", "warm-up s"
    )
    for item, each in sorted(found.items(), key=lambda pair: pair[0].partition(".")[0]):
        name, _, loop = item.partition(".")
        if "images_per_second" in each:
            bare = found.get(f"{name}.bare", {}).get("images_per_second")
            floor = each.get("floors", {}).get("measured", {}).get("share")
            yield row(
                *(name, loop, f"{each['images_per_second']:,.0f}", f"{each['spread']:.1%}"),
                "" if floor is None else f"{floor:.1%}",
                "" if bare is None else f"{each['images_per_second'] / bare:.2f}",
                f"{each['peak_bytes'] / 2**30:.1f}" if "peak_bytes" in each else "",
                f"{each['warmup_seconds']:.1f}",
            )
    yield ""
    for item, each in found.items():
        if "train_seconds" in each:
            whole = 200 * each["seconds"]
            yield (
                f"- {item}: {each['train_seconds']:.2f} s per epoch and "
                f"{each['evaluate_seconds']:.2f} s per evaluation, the first "
                f"{each['first_seconds']:.0f} s; 200 epochs {whole:.0f} s"
            )
    for item, each in found.items():
        if "error" in each:
            yield from quoted(f"{item}: {each['error']}", each.get("tail", ""))


def concurrency(known: Measured) -> Lines:
    """The pace of several processes at once."""
    if not known.concurrency:
        return
    yield from grid("processes", *known.concurrency)
    counts = sorted({int(c) for each in known.concurrency.values() for c in each if c.isdigit()})
    for count in counts:
        rates = [
            each.get(str(count), {}).get("images_per_second") for each in known.concurrency.values()
        ]
        yield row(count, *("" if rate is None else f"{rate:,.0f}" for rate in rates))
    for name, each in known.concurrency.items():
        if "error" in each:
            yield f"\n{name}: {each['error']}"
    if len(known.concurrencies()) > 1:
        best = max(known.concurrencies(), key=lambda each: each.gain)
        how = " under MPS" if best.mps else ""
        yield f"\nBest: {best.count} at once{how}, {best.gain:.2f} times the pace of one."


def sweep(found: Row | None) -> Lines:
    """How many runs of the sweep there are, and how long its last line took."""
    if found is not None:
        how = " under MPS" if found["mps"] else ""
        yield f"{found['runs']} of {found['wanted']} runs{how}, {found['seconds']:.0f} s"


def runs(found: Mapping[str, Row]) -> Lines:
    """The state of each run; of those not started only the most common reasons."""
    if not found:
        return
    yield from grid("run", "state", "epochs", "seconds", "s/epoch", "last", "median of 10", "why")
    for name, each in found.items():
        if each["state"] != "not started":
            metrics = each.get("metrics", {})
            tests = (metrics.get(k, {}) for k in ("last", "median10"))
            scores = [headline(each) if each else None for each in tests]
            yield row(
                *(name, each["state"], each.get("epochs", "")),
                *(number(each.get(key), ".1f") for key in ("seconds", "seconds_per_epoch")),
                *(number(value, ".2f") for value in scores),
                each.get("reason", ""),
            )
    idle = Counter(each["reason"] for each in found.values() if each["state"] == "not started")
    yield ""
    yield from (f"- {count} not started: {reason}" for reason, count in idle.most_common(SHOWN))
    for name, each in found.items():
        if each["state"] == "failed":
            yield from quoted(name, each.get("tail", ""))


def number(value: float | None, form: str) -> str:
    """The number formatted, or nothing if there is none."""
    return "" if value is None else format(value, form)


def carried(out: Path) -> Lines:
    """How much there is to copy, and what can be resumed from it."""
    paths = carry.listed(out)
    yield f"{len(paths)} files, {carry.size(paths) / 1e6:.1f} MB:"
    yield "`tar -C OUT -czf FILE -T OUT/carry.txt`"
    yield "Unpack it and run the same line with `--out FOLDER` to resume unfinished runs.\n"
    for folder, path in carry.unfinished(out).items():
        yield f"- unfinished: {folder.relative_to(out)}, {path.stat().st_size / 1e6:.1f} MB"
    if weights := carry.kept(out):
        yield f"- weights of {len(weights)} readings, {carry.size(weights) / 1e6:.1f} MB"
