"""Tables in text, Markdown, LaTeX and CSV: the same numbers, as recorded."""

import csv
import io
import re
from copy import deepcopy
from typing import Any

import pytest
from table_samples import ERM, MIXUP, TABLE, UNAVAILABLE, record, runs

from vicinal.tables import table
from vicinal.tables.cell import Cell
from vicinal.tables.formats import papers
from vicinal.tables.formats.best import best
from vicinal.tables.formats.csv import csv_lines
from vicinal.tables.formats.latex import escaped, latex
from vicinal.tables.formats.layout import Layout, layout
from vicinal.tables.formats.markdown import markdown
from vicinal.tables.formats.text import text
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.table import Table

DIVERGED = record(ERM.overrides, 2, 0.0) | {"failed": "loss is not finite"}
SHORT = ("schedule.epochs=3",)


def joined(*records: dict[str, Any], found: Table = TABLE) -> TableResults:
    return TableResults.of(found, RecordIndex(records))


RESULTS = joined(*runs(ERM.overrides, 3.7, 3.9), DIVERGED, *runs(MIXUP.overrides, 2.6, 2.7, 2.8))


def own(*rows: dict[str, Any], **changed: Any) -> Table:
    """A table of three columns that prints nothing."""
    tree: dict[str, Any] = {
        "run": ["dataset=cifar10", "model=wrn28_10", "method=erm"],
        "columns": [
            {"label": ["clean", "error"]},
            {"label": ["clean", "accuracy"], "measures": "accuracy"},
            {"label": "best", "report": "best_valid", "split": "valid"},
        ],
        "rows": list(rows),
    }
    return Table("own", tree | changed)


def entry(of: Layout, row: int, column: int) -> tuple[str, tuple[str, ...]]:
    found = of.rows[row][1][column]
    return found.text, found.marks


def test_an_entry_is_mean_and_sample_deviation_with_what_is_to_be_said_of_it() -> None:
    found = layout(RESULTS)
    assert entry(found, 0, 0) == ("3.80 ± 0.14 (2)", ("a",))
    assert entry(found, 0, 1) == ("2.70 ± 0.10 (3)", ())
    assert entry(found, 0, 2) == ("n/a", ("b",))
    lettered = [("a", "1 of 3 seeds failed"), ("b", "Too large.")]
    assert found.notes[:2] == lettered
    assert ("", "mean ± sample standard deviation (number of seeds)") in found.notes


def test_the_number_of_seeds_is_a_note_if_it_is_the_same_everywhere() -> None:
    found = layout(joined(*runs(ERM.overrides, 3.7, 3.9), *runs(MIXUP.overrides, 2.6, 2.7)))
    assert entry(found, 0, 0) == ("3.80 ± 0.14", ("a",))
    assert ("a", "so far 2 of 3 seeds") in found.notes
    assert ("", "mean ± sample standard deviation of 2 seeds") in found.notes


def test_a_reduced_run_is_marked_by_what_differs() -> None:
    reduced = record([*ERM.overrides, *SHORT], 0, 9.0, reduced=list(SHORT))
    found = layout(joined(reduced))
    assert entry(found, 0, 0) == ("9.00", ("a",))
    assert ("a", "reduced: schedule.epochs=3") in found.notes


def test_what_runs_say_of_a_claim_is_a_note() -> None:
    (said,) = [text for _, text in layout(RESULTS).notes if "mixup wins" in text]
    assert "CIFAR-10, mixup; against CIFAR-10, ERM, gain +1.15" in said
    assert RESULTS.orderings[0].verdict in said
    assert not any("mixup wins" in text for _, text in layout(joined()).notes)


def test_the_papers_numbers_stand_beside_ours() -> None:
    found = layout(RESULTS, papers=True)
    kinds = ("ours", "paper")
    assert found.columns == [(name, kind) for name in ("ERM", "mixup", "GAN") for kind in kinds]
    assert [entry(found, 0, column)[0] for column in (1, 3, 5)] == ["3.8", "2.7", "1.0"]


def test_the_best_is_found_down_a_column_of_one_network() -> None:
    found = own({"label": "a"}, {"label": "b", "run": ["method=mixup"]})
    one, two = found.cells[0].overrides, found.cells[3].overrides
    results = joined(record(one, 0, 5.0), record(two, 0, 4.0), found=found)
    # Of error and accuracy the second row is best; valid_top1 is the same for both.
    assert best(results.outcomes) == {(1, 0), (1, 1)}


def test_the_best_is_found_along_a_row_if_each_row_is_another_network() -> None:
    rows = [
        {"label": name, "run": [f"model={name}"], "printed": ["1.0", "1.0", None]}
        for name in ("wrn28_10", "wrn40_2")
    ]
    tree = {**deepcopy(TABLE.tree), "rows": rows}
    found = Table("paper/rows", tree | {"claims": []})
    errors = [[5.0, 4.0], [2.0, 3.0]]
    known = [record(c.overrides, 0, errors[c.place[0]][c.place[1]]) for c in found.cells]
    assert best(joined(*known, found=found).outcomes) == {(0, 1), (1, 0)}


def test_a_reduced_number_is_not_compared_with_one_at_the_protocol() -> None:
    found = own({"label": "a"}, {"label": "b", "run": ["method=mixup"]}, columns=[{"label": "e"}])
    one, two = (cell.overrides for cell in found.cells)
    short = record([*two, *SHORT], 0, 1.0, reduced=list(SHORT))
    assert best(joined(record(one, 0, 5.0), short, found=found).outcomes) == set()
    both = [record([*one, *SHORT], 0, 5.0, reduced=list(SHORT)), short]
    assert best(joined(*both, found=found).outcomes) == {(1, 0)}


def test_numbers_that_look_the_same_are_both_best_and_neither_if_there_are_no_others() -> None:
    rows = [{"label": name, "run": [f"method={name}"]} for name in ("erm", "mixup", "cutmix")]
    found = own(*rows, columns=[{"label": "e"}])
    errors = (4.001, 4.0, 5.0)
    known = [record(c.overrides, 0, e) for c, e in zip(found.cells, errors, strict=True)]
    assert best(joined(*known, found=found).outcomes) == {(0, 0), (1, 0)}
    assert best(joined(*known[:2], found=found).outcomes) == set()


def test_text_has_columns_of_one_width() -> None:
    lines = text(layout(RESULTS, papers=True)).splitlines()
    assert lines[0] == "paper/small: Test error"
    assert lines[2].split() == ["ERM", "ERM", "mixup", "mixup", "GAN", "GAN"]
    assert lines[3].split() == ["Data", *["ours", "paper"] * 3]
    start = lines[3].index("paper")
    assert lines[5][start:].startswith("3.8 ")
    assert "[a] 1 of 3 seeds failed" in lines


def test_markdown_has_the_best_in_bold_and_no_markup_of_a_labels_own() -> None:
    rows = [{"label": "a|b_c*", "run": ["method=mixup"]}, {"label": "x"}]
    found = own(*rows, columns=[{"label": ["clean", "error"]}])
    known = [record(c.overrides, 0, e) for c, e in zip(found.cells, (4.0, 5.0), strict=True)]
    lines = markdown(layout(joined(*known, found=found))).splitlines()
    assert lines[2] == "|  | clean, error |"
    assert lines[4] == "| a\\|b\\_c\\* | **4.00**<sup>a</sup> |"
    assert lines[5] == "| x | 5.00<sup>a</sup> |"
    assert "- <sup>a</sup> so far 1 of 3 seeds" in lines


def rows_of(source: str) -> list[list[str]]:
    """The rows of a tabular, each cell as often as it has columns."""
    (body,) = re.findall(r"\\begin{tabular}{\w+}\n(.*)\\end{tabular}", source, re.DOTALL)
    rows = []
    for line in body.splitlines():
        if line.endswith(r" \\"):
            cells = re.split(r"(?<!\\)&", line.removesuffix(r"\\"))
            spans = [re.fullmatch(r"\\multicolumn{(\d+)}{c}{(.*)}", each.strip()) for each in cells]
            rows.append(
                [
                    text
                    for each, span in zip(cells, spans, strict=True)
                    for text in ([span[2]] * int(span[1]) if span else [each.strip()])
                ]
            )
    return rows


def check_structure(source: str) -> None:
    """Environments, braces and dollars are balanced; every row has all columns."""
    open_environments: list[str] = []
    for kind, name in re.findall(r"\\(begin|end){(\w+)}", source):
        if kind == "begin":
            open_environments.append(name)
        else:
            assert open_environments.pop() == name
    assert open_environments == []
    bare = re.sub(r"\\[{}$]", "", source)
    assert bare.count("{") == bare.count("}")
    assert all(line.count("$") % 2 == 0 for line in bare.splitlines())
    (columns,) = re.findall(r"\\begin{tabular}{(\w+)}", source)
    assert {len(row) for row in rows_of(source)} == {len(columns)}


def test_latex_groups_columns_under_their_label() -> None:
    found = own({"label": "a & b"}, {"label": "50 %", "run": ["method=mixup"]})
    one, two = found.cells[0].overrides, found.cells[3].overrides
    source = latex(layout(joined(record(one, 0, 5.0), record(two, 0, 4.0), found=found)))
    check_structure(source)
    heads, subheads, first, second = rows_of(source)
    assert heads == ["", "clean", "clean", "best"]
    assert subheads == ["", "error", "accuracy", ""]
    assert r"\cmidrule(lr){2-3}" in source.splitlines()
    assert (first[0], second[0]) == (r"a \& b", r"50 \%")
    assert first[1].startswith(r"5.00\textsuperscript{a}")
    assert second[1].startswith(r"\textbf{4.00}\textsuperscript{a}")
    rules = [line for line in source.splitlines() if re.fullmatch(r"\\(top|mid|bottom)rule", line)]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]


@pytest.mark.parametrize("name", ["mixup/figure3a", "augmax/table1", "gradaug/table3"])
def test_latex_of_the_papers_tables_is_balanced_and_plain(name: str) -> None:
    source = latex(layout(joined(found=table.load(name)), papers=True))
    check_structure(source)
    assert source.isascii()


def test_latex_escapes_what_has_a_meaning_of_its_own() -> None:
    assert escaped("50 % & #1_{a} ~^\\") == (
        r"50 \% \& \#1\_\{a\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escaped("3 ± 1, σ²_c (\u03b1\u0303 = ε)") == (
        r"3 $\pm$ 1, $\sigma$$^2$\_c ($\tilde{\alpha}$ = $\varepsilon$)"
    )


def read(source: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(source)))


def test_csv_has_one_line_per_number() -> None:
    erm, mixup, gan = read(csv_lines([RESULTS]))
    assert (erm["table"], erm["row"], erm["column"]) == ("paper/small", "CIFAR-10", "ERM")
    assert float(erm["mean"]) == pytest.approx(3.8)
    assert float(erm["sd"]) == pytest.approx(0.1414213562)
    assert (erm["n"], erm["failed"], erm["seeds"]) == ("2", "1", "0 1")
    assert (float(erm["paper"]), erm["paper_source"]) == (3.8, "3.8 in paper/small")
    assert float(mixup["difference"]) == pytest.approx(0.0)
    assert mixup["run"].startswith("cifar10/wrn28_10/mixup/")
    assert (gan["mean"], gan["n"], gan["verdict"]) == ("", "0", "unavailable")
    assert UNAVAILABLE.column == (gan["column"],)


ABLATION = own(
    {"label": "ERM"},
    run=["dataset=cifar10", "model=wrn28_10", "method=erm"],
    columns=[{"label": "error"}],
)


def printed_elsewhere(*cells: tuple[str, str]) -> list[Cell]:
    (mine,) = ABLATION.cells
    fixed = {"row": ("r",), "column": ("c",), "place": (0, 0), "overrides": mine.overrides}
    return [Cell(table=name, printed=number, **fixed) for name, number in cells]  # pyright: ignore


def test_papers_numbers_of_the_same_run_are_found_for_ones_own_table() -> None:
    protocol = table.load("mixup/table4").cells[8]
    rows = [{"label": "a"}, {"label": "b", "run": ["schedule.epochs=1"]}]
    columns = [{"label": "error"}, {"label": "best", "report": "best_test"}]
    found = own(*rows, run=list(protocol.overrides), columns=columns)
    text = layout(joined(found=found), papers=True)
    assert protocol.label == "Iris | ERM"
    assert [entry(text, row, column) for row in (0, 1) for column in (1, 3)] == [
        (protocol.printed, ("a",)),
        *[("", ())] * 3,
    ]
    assert text.notes == [("a", f"{protocol.printed} in mixup/table4")]


def test_each_of_several_papers_numbers_is_shown_with_its_paper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = printed_elsewhere(("mixup/figure3a", "3.8"), ("maxup/table3", "3.9±0.1"))
    other = printed_elsewhere(("maxup/table3", "99.0"))[0]
    different = Cell(**{**other.__dict__, "measures": "accuracy"})
    monkeypatch.setattr(papers, "same_run", lambda name, choices: [*cells, different])
    results = joined(record(ABLATION.cells[0].overrides, 0, 4.0), found=ABLATION)
    found = layout(results, papers=True)
    assert entry(found, 0, 1) == ("3.8 / 3.9 ± 0.1", ("b", "c"))
    assert [said for letter, said in found.notes if letter in ("b", "c")] == [
        "3.8 in mixup/figure3a",
        "3.9 ± 0.1 in maxup/table3",
    ]
    (line,) = read(csv_lines([results], papers=True))
    assert (line["paper"], line["difference"]) == ("", "")
    assert line["paper_source"] == "3.8 in mixup/figure3a; 3.9±0.1 in maxup/table3"
    monkeypatch.setattr(papers, "same_run", lambda name, choices: cells[:1])
    (line,) = read(csv_lines([results], papers=True))
    assert float(line["paper"]) == 3.8
    assert float(line["difference"]) == pytest.approx(0.2)
