"""A table in LaTeX, for the package booktabs; the best numbers in bold."""

# ruff: noqa: RUF001 (signs that only look like ASCII)
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from vicinal.tables.formats.layout import Entry, Layout

GREEK = dict(
    zip(
        "αβγδεζηθκλμνξπρστφχψωΓΔΘΛΞΠΣΦΨΩ",
        (
            *("alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "kappa"),
            *("lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "varphi", "chi", "psi"),
            *("omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi"),
            "Omega",
        ),
        strict=True,
    )
)
MATH = {letter: f"\\{name}" for letter, name in GREEK.items()} | {
    **{"±": r"\pm", "×": r"\times", "≤": r"\leq", "≥": r"\geq", "≈": r"\approx", "→": r"\to"},
    **{"↑": r"\uparrow", "↓": r"\downarrow", "ℓ": r"\ell", "∞": r"\infty", "−": "-"},
    **{"²": "^2", "³": "^3", "⁴": "^4", "⁻": "^-", "<": "<", ">": ">", "|": r"\mid"},
}
TEXT = {
    **{symbol: f"\\{symbol}" for symbol in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"§": r"\S{}", "†": r"\dag{}", "‡": r"\ddag{}", "…": r"\ldots{}"},
}
TILDE = "\u0303"  # over the letter before it


def latex(table: Layout) -> str:
    """The table in a float, with its notes."""
    stub, columns = len(table.stub), len(table.columns)
    rows = [[*map(escaped, label), *map(_entry, entries)] for label, entries in table.rows]
    notes = [f"{_raised(letter)}{escaped(said)}\\par" for letter, said in table.notes]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{escaped(table.caption)}}}",
            f"\\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', table.name)}}}",
            f"\\begin{{tabular}}{{{'l' * stub}{'c' * columns}}}",
            r"\toprule",
            *_heads(table),
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            *((r"\par\smallskip", r"\footnotesize", *notes) if notes else ()),
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """Text as LaTeX shows it."""
    return re.sub(f".{TILDE}?", lambda found: _symbol(found[0]), text, flags=re.DOTALL)


def _symbol(text: str) -> str:
    letter = text.removesuffix(TILDE)
    if letter != text:
        return f"$\\tilde{{{MATH.get(letter, letter)}}}$"
    return f"${MATH[text]}$" if text in MATH else TEXT.get(text, text)


def _heads(table: Layout) -> Iterator[str]:
    """A line per level; a label that spans several columns has a rule under it."""
    levels = len(table.columns[0])
    for level in range(levels):
        stub = table.stub if level == levels - 1 else [""] * len(table.stub)
        cells, rules, column = list(map(escaped, stub)), [], len(table.stub)
        for label, width in _spans(table.columns, level):
            text = escaped(label)
            cells.append(f"\\multicolumn{{{width}}}{{c}}{{{text}}}" if width > 1 else text)
            if width > 1 and label:
                rules.append(f"\\cmidrule(lr){{{column + 1}-{column + width}}}")
            column += width
        yield " & ".join(cells) + r" \\"
        if rules:
            yield " ".join(rules)


def _spans(columns: Sequence[tuple[str, ...]], level: int) -> Iterator[tuple[str, int]]:
    """The labels of one level and how many columns each spans: those alike down to this level."""
    for prefix, group in groupby(columns, key=lambda label: label[: level + 1]):
        yield prefix[-1], len(list(group))


def _entry(entry: Entry) -> str:
    text = escaped(entry.text)
    return (f"\\textbf{{{text}}}" if entry.best else text) + _raised(",".join(entry.marks))


def _raised(letters: str) -> str:
    return f"\\textsuperscript{{{letters}}}" if letters else ""
