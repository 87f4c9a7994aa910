"""Whatever is typed is built, or refused in one line."""

import random
from pathlib import Path

from standins import told


class Typist:
    """Types lines that are nearly right, or not at all."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    GROUPS = ("dataset", "model", "method", "vicinity@method.vicinity", "method@warmup", "vicinity")
    OPTIONS = ("digits", "arrays", "wrn", "erm", "maxup_mixup", "maxup_cutout", "mixup", "cutout")
    KEYS = (
        *("seed", "out", "results", "method.copies", "method.vicinity", "method.vicinity.alpha"),
        *("method.vicinity.per", "dataset.mean", "dataset.mean.0", "dataset.fetch", "model.depth"),
        *("dataset.sources.first", "model._partial_", "method._target_", "_target_", "warmup"),
        *("hydra.run.dir", "hydra.verbose", "method.chunk", "_convert_", "method._recursive_"),
    )
    VALUES = (
        *(
            "0",
            "1",
            "-1",
            "1.5",
            "1e-3",
            "nan",
            "inf",
            "true",
            "null",
            "abc",
            "",
            "''",
            '""',
            "'a b'",
        ),
        *("[1,2,3]", "[1,a]", "[]", "{}", "{a:1}", "{first:1}", "[[1],[2]]", "???", "a=b", "a b"),
        *("1,2", "range(3)", "choice(1,2)", "interval(0,1)", "glob(*)", "int(3)", "str(3)", "x(3)"),
        *("${seed}", "${sed}", "${", "${oc.env:NOPE}", "${dataset.mean}", "${.x}", "${hydra:x}"),
        *(
            "é",
            "'é'",
            "\\",
            "'",
            '"',
            "[1",
            "{a",
            "a:b",
            "@",
            "$x",
            "~",
            "../x",
            "/etc",
            "😀",
            "\t",
        ),
        *(
            "16",
            "2",
            "0.5",
            "batch",
            "standins.MaxUp",
            "os.system",
            "no.where",
            "builtins.dict",
            "4",
        ),
    )

    def line(self) -> str:
        draw = self.draw
        groups = draw.random() < 0.4
        key = self.misspelt(draw.choice(self.GROUPS if groups else self.KEYS))
        value = draw.choice(self.OPTIONS if groups and draw.random() < 0.7 else self.VALUES)
        sign = draw.choice([""] * 8 + ["+", "++", "~"])
        return f"{sign}{key}" if draw.random() < 0.1 else f"{sign}{key}={self.misspelt(value)}"

    def misspelt(self, word: str) -> str:
        draw = self.draw
        if not word or draw.random() < 0.85:
            return word
        at = draw.randrange(len(word))
        new = draw.choice(["", "x", ".", "@", "é", "[", "_", "/", word[at] * 2, " ", ",", ":", "0"])
        return word[:at] + new + word[at + 1 :]


def fuzz(folder: Path, seed: int, lines: int) -> tuple[int, int]:
    """How many of that many command lines were refused with a line, and how many were built."""
    typist = Typist(seed)
    refused = built = 0
    for _ in range(lines):
        typed = [typist.line() for _ in range(typist.draw.choice([1, 1, 1, 2, 3]))]
        try:
            line = told(folder, typed)
        except BaseException as error:
            raise AssertionError(f"unexplained: {typed}") from error
        if line is None:
            built += 1  # no constructor here takes **kwargs: an unknown key would have failed
        else:
            assert len(line.splitlines()) == 1, (typed, line)
            refused += 1
    return refused, built


def test_whatever_is_typed_is_built_or_explained_in_one_line(folder: Path) -> None:
    refused, built = fuzz(folder, seed=0, lines=60)
    assert refused > 30
    assert built > 3
