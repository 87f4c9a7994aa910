"""Tab completion of what Hydra leaves out: tables, and the parts of a method or an evaluation."""

from vicinal.cli.configs import options


def completions(line: str) -> list[str]:
    """What `table=mix` or `vicinity@method.vicinity=mi` at the end of a line may become."""
    key, given, start = line.rpartition(" ")[2].partition("=")
    if key and not given and "table".startswith(key):
        return ["table="]
    group, place, _ = key.lstrip("+").partition("@")
    if not place and group != "table":
        return []
    known = sorted(options(group, "*/*" if group == "table" else "*"))
    return [f"{key}={option}" for option in known if option.startswith(start)]
