"""Short names of jobs: what tells each from the others."""

from collections.abc import Mapping, Sequence

Row = Mapping[str, str]  # what is shown of a job's overrides, by their keys
SIGNS = ("true", "false", "null")  # that mean nothing without their key


def common(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The overrides that all of several jobs share, in their order."""
    if len(jobs) < 2:
        return []
    shared = set[str].intersection(*map(set, jobs))
    return [each for each in jobs[0] if each in shared]


def short_names(jobs: Sequence[Sequence[str]], width: int) -> list[str]:
    """A name per job of at most so many characters, without overrides that all jobs share.

    Where names are too long, words are shown without their keys. If that is not enough, names lose
    the longest overrides that are not needed to tell jobs apart, and in the end their middle.
    """
    shared = set(common(jobs))
    rows = [{_key(each): each for each in job if each not in shared} for job in jobs]
    ends = _ends([key for row in rows for key in row])
    rows = [{key: ends[key] + each.removeprefix(key) for key, each in row.items()} for row in rows]
    if _longest(rows) > width:
        rows = [{key: _word(each) for key, each in row.items()} for row in rows]
        rows = _needed(rows, width)
    return [shortened(" ".join(row.values()), width) for row in rows]


def shortened(text: str, width: int) -> str:
    """The text without its middle if it is too long."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def _key(override: str) -> str:
    return override.partition("=")[0]


def _ends(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, or all of it where another ends alike."""
    known = dict.fromkeys(keys)
    last = [key.lstrip("+").rpartition(".")[2] for key in known]
    return {key: end if last.count(end) == 1 else key for key, end in zip(known, last, strict=True)}


def _word(override: str) -> str:
    """The value alone, if it is a word."""
    value = override.partition("=")[2]
    return value if value[:1].isalpha() and value not in SIGNS else override


def _needed(rows: Sequence[Row], width: int) -> Sequence[Row]:
    """The rows without what is not needed to tell them apart, as long as one is too long."""
    distinct = _distinct(rows)
    lengths = {key: max(len(row.get(key, "")) for row in rows) for row in rows for key in row}
    for key in sorted(lengths, key=lambda key: -lengths[key]):
        fewer = [{other: row[other] for other in row if other != key} for row in rows]
        if _longest(rows) > width and _distinct(fewer) == distinct:
            rows = fewer
    return rows


def _distinct(rows: Sequence[Row]) -> int:
    return len({tuple(row.items()) for row in rows})


def _longest(rows: Sequence[Row]) -> int:
    return max((len(" ".join(row.values())) for row in rows), default=0)
