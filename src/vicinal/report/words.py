"""The report's words and signs: papers, tables, verdicts."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from vicinal.report.html import Html, tag
from vicinal.tables.cell import Cell
from vicinal.tables.markdown import our_number
from vicinal.tables.outcome import Outcome
from vicinal.tables.verdicts import Interval, margin

PAPERS = {  # title, authors, where, arXiv
    "mixup": (
        "mixup: Beyond Empirical Risk Minimization",
        "Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz",
        "ICLR 2018",
        "1710.09412",
    ),
    "maxup": (
        "MaxUp: A Simple Way to Improve Generalization of Neural Network Training",
        "Chengyue Gong, Tongzheng Ren, Mao Ye, Qiang Liu",
        "2020",
        "2002.09024",
    ),
    "gradaug": (
        "GradAug: A New Regularization Method for Deep Neural Networks",
        "Taojiannan Yang, Sijie Zhu, Chen Chen",
        "NeurIPS 2020",
        "2006.07989",
    ),
    "augmax": (
        "AugMax: Adversarial Composition of Random Augmentations for Robust Training",
        "Haotao Wang, Chaowei Xiao, Jean Kossaifi, Zhiding Yu, Anima Anandkumar, Zhangyang Wang",
        "NeurIPS 2021",
        "2110.13771",
    ),
    "patchup": (
        "PatchUp: A Feature-Space Block-Level Regularization Technique for Convolutional "
        "Neural Networks",
        "Mojtaba Faramarzi, Mohammad Amini, Akilesh Badrinaaraayanan, Vikas Verma, Sarath Chandar",
        "AAAI 2022",
        "2006.07794",
    ),
}
SHORT = {"maxup": "MaxUp", "gradaug": "GradAug", "augmax": "AugMax", "patchup": "PatchUp"}

# What a cell is coloured by.
VERDICTS = {
    "reproduced": "the whole 95 % interval of the difference lies within the margin",
    "better": "the interval excludes 0 and leaves the margin; ours is the better number",
    "worse": "the interval excludes 0 and leaves the margin; ours is the worse number",
    "differs": "the interval excludes 0 and leaves the margin; neither side is better",
    "inconclusive": "too wide an interval, or a planned seed diverged",
    "agrees (one run)": "one run, whose interval contains 0 and lies within the margin",
    "near (one run)": "one run, whose interval contains 0 and leaves the margin",
    "off (one run)": "one run, whose interval excludes 0",
    "interim": "planned seeds are missing: no verdict yet",
    "equal": "counted without a run, and the printed digits",
    "unequal": "counted without a run, and not the printed digits",
    "definition": "so by definition: no run could change it",
    "reduced": "only runs with another budget or data: shown, never counted",
    "failed": "every run diverged",
    "not run": "could be run, has not been",
    "waits": "cannot be run yet",
}
ALWAYS = ("reproduced", "better", "worse", "inconclusive", "not run", "waits")  # in the legend
READINGS = {
    "last": "last epoch",
    "median10": "median of the last ten epochs",
    "best_test": "best epoch on test data",
    "best_valid": "best epoch on validation data",
}
MEASURES = {
    "nll": "loss",
    "mce": "mCE",
    "multiply_adds": "multiply-adds",
    "top5_error": "top-5 error",
    "top5_accuracy": "top-5 accuracy",
}
BETTER = {"lower": "lower is better", "higher": "higher is better", "none": "neither way is better"}


def slug(name: str) -> str:
    """For an id or a class."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def cell_id(outcome: Outcome) -> str:
    """A cell's place in the page."""
    row, column = outcome.cell.place
    return f"{slug(outcome.cell.table)}-{row + 1}-{column + 1}"


def titled(name: str) -> str:
    """`PAPER/table4_raw` as Table 4 (raw)."""
    found = re.fullmatch(r"([a-z]+?)_?(\d+[a-z]?)(?:_(.+))?", name.rpartition("/")[2])
    if found is None:
        return name.rpartition("/")[2]
    variant = f" ({found[3].replace('_', ' ')})" if found[3] else ""
    return f"{found[1].capitalize()} {found[2]}{variant}"


def cited(cell: Cell) -> str:
    """Table and labels, to name a number anywhere on the page."""
    paper = short(cell.table.partition("/")[0])
    return f"{paper}, {titled(cell.table)}: {', '.join((*cell.row, *cell.column))}"


def short(paper: str) -> str:
    """A paper by its method's name."""
    return SHORT.get(paper, paper)


def sign(verdict: str) -> Html:
    """The verdict's sign; words stand beside it, visible or not."""
    use = tag("use", href=f"#i-{slug(verdict)}")
    return tag("svg", use, class_="sign", aria_hidden="true")


def hidden(words: str) -> Html:
    """For screen readers."""
    return tag("span", words, class_="vh")


def many(count: int, one: str, more: str | None = None) -> str:
    """1 number, 2 numbers."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def few(count: int) -> str:
    """A small number in letters, to begin a sentence with."""
    letters = "No One Two Three Four Five Six Seven Eight Nine".split()
    return letters[count] if count < len(letters) else f"{count:,}"


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def counted(verdicts: Iterable[str]) -> str:
    """How many of each, in the order of the legend."""
    count = Counter(verdicts)
    return " · ".join(f"{word} {count[word]}" for word in VERDICTS if count[word])


def minus(number: str) -> str:
    """With the typographic sign, and none before zero."""
    return re.sub(r"[-+](0(?:\.0+)?)(?![\d.])", r"\1", number).replace("-", "\u2212")


def printed(cell: Cell) -> str:
    """The paper's number, as it is set."""
    return minus(cell.printed.replace("±", " ± "))


def measure(name: str) -> str:
    """A measure as prose has it."""
    return MEASURES.get(name, name.replace("_", " "))


def reading(cell: Cell) -> str:
    """Which epoch's number, and on what data where not the test set."""
    return READINGS[cell.report] + ("" if cell.split == "test" else f", {cell.split}")


def seeds(values: Sequence[int]) -> str:
    """0 to 19, or 0, 1, 2."""
    if len(values) > 4 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))


def spanned(found: Interval, decimals: int, unit: str) -> str:
    """A difference in words."""
    digits = max(decimals, 2)
    points = "points" if unit == "%" else unit
    low, high = found.difference - found.half_width, found.difference + found.half_width
    return minus(
        f"{found.difference:+.{digits}f} {points} (95 % interval {low:+.{digits}f} to "
        f"{high:+.{digits}f})"
    )


def verdict(outcome: Outcome) -> str:
    """The verdict in a sentence or two."""
    cell, word, ours = outcome.cell, outcome.verdict, our_number(outcome)
    plain = {
        "definition": "So by definition: no run could change it.",
        "waits": f"Waits for {cell.waits}: this run cannot be made yet.",
        "not run": "Not run yet.",
        "failed": f"Failed: {many(len(outcome.failed), 'run')} diverged, and none finished.",
        "equal": f"Equal: counted on the network, ours has the printed digits ({ours}).",
        "unequal": f"Unequal: counted on the network, ours has other digits ({ours}).",
        "reduced": f"Reduced: run with {listed(outcome.reduced) if outcome.reduced else ''}. "
        f"Ours is {ours}; it does not count.",
    }
    if word in plain:
        return plain[word]
    found, begun = outcome.difference, word[0].upper() + word[1:]
    if word == "interim":
        begun = f"Interim: {outcome.verdict_so_far} so far"
    lacking = _lacking(outcome)
    if found is None:
        return f"{begun}: no deviation is known to judge so few runs by{lacking}."
    said = f"ours minus the paper's is {spanned(found, cell.decimals, cell.unit)}"
    return f"{begun}: {said}, {_answers(outcome)}{lacking}. Judged by: {found.source}."


def _answers(outcome: Outcome) -> str:
    """Whether the interval contains 0, and whether it lies within the margin."""
    contains = {"no": "which contains 0", "differs": "which excludes 0"}.get(
        outcome.different, f"which is {outcome.different}"
    )
    lies = "lies within" if outcome.within == "yes" else "is not within"
    return f"{contains} and {lies} the margin of \u00b1{margin(outcome.cell):.3g}"


def _lacking(outcome: Outcome) -> str:
    planned = outcome.cell.seeds
    missing = [s for s in planned if s not in outcome.values and s not in outcome.failed]
    lacking = [
        f"{'seed' if len(some) == 1 else 'seeds'} {seeds(some)} {what}"
        for some, what in ((outcome.failed, "failed"), (missing, "not run"))
        if some
    ]
    return f"; {listed(lacking)}" if lacking else ""
