from __future__ import annotations

import json
import re

import pytest
import typst
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from elmo.errors import DataError
from elmo.report.pages import PREAMBLE, _blocks, _string, to_pdf
from elmo.report.writing import Manuscript, _is_numeric, number, with_deviation

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"></svg>'


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=30))
def test_typst_reads_a_string_unchanged(text: str) -> None:
    assert json.loads(typst.eval(b"", _string(text))) == text


@settings(deadline=None, max_examples=50)
@given(st.text('#*_`$@<>[]{}()\\"/=~-+|!&% \té', max_size=20))
def test_no_text_is_markup_for_typst(text: str) -> None:
    paper = Manuscript("figures")
    paper.heading("Title", level=1)
    paper.table("Cells.", ["a", "b"], [[f"x{text}", "1"], ["y", f"`{text.replace('`', '')}x`"]])
    assert to_pdf(paper.text, {}, "figures").startswith(b"%PDF")


def test_all_parts_of_a_report_are_set() -> None:
    paper = Manuscript("figures")
    paper.heading("Title", level=1)
    paper.paragraph("One *emphasis*, **strong**, `code` and [a link](https://example.org).", "")
    paper.items(["first", "second `item`"])
    paper.include("<!-- a comment -->\n\n### By hand\n\n```\npython train_lm.py\n```\n")
    paper.table("Of `x`.", ["name", "value"], [["a | b", "1"], ["c", ""]])
    paper.figure("some_figure", "A caption.", SVG)
    pages = to_pdf(paper.text, paper.figures, "figures")
    assert pages.startswith(b"%PDF")
    assert pages == to_pdf(paper.text, paper.figures, "figures")
    assert "| a / b | 1 |" in paper.text
    assert "| --- | ---: |" in paper.text


@pytest.mark.parametrize("markdown", ["1. numbered", "> quoted", "text ![x](figures/x.svg) text"])
def test_other_markdown_is_one_clear_error(markdown: str) -> None:
    with pytest.raises(
        DataError, match=r"the Markdown of a report cannot contain .*; expected headings"
    ):
        to_pdf(f"# Title\n\n{markdown}\n", {}, "figures")


def test_numbers() -> None:
    assert number(1234.5678, 2) == "1,234.57"
    assert number(float("nan")) == ""
    assert with_deviation(0.9, 0.012) == "0.9000 ± 0.0120"
    assert with_deviation(0.9, float("nan")) == "0.9000"
    for cell, numeric in (("0.9 ± 0.1", True), ("< 0.001", True), ("12 / 3", True), ("a1", False)):
        assert _is_numeric(cell) == numeric


def test_the_table_of_contents_is_before_the_first_section() -> None:
    paper = Manuscript("figures")
    paper.heading("Title", level=1)
    paper.paragraph("A summary.")
    paper.heading("First")
    paper.heading("Second")
    blocks = list(_blocks(MarkdownIt().parse(paper.text), "figures"))
    kinds = ["contents" if "#outline" in block else block.split()[0] for block in blocks]
    assert kinds == ["=", '#"A', "contents", "==", "=="]


def test_rows_of_one_group_stay_together() -> None:
    paper = Manuscript("figures")
    paper.table("Of `x`.", ["name", "x"], [["a", "1"], ["", "2"], ["b", "3"]])
    [table] = list(_blocks(MarkdownIt().enable("table").parse(paper.text), "figures"))
    assert 'table.cell(rowspan: 2, breakable: false)[#"a";], [#"1";], [#"2";]' in table
    assert 'table.cell(rowspan: 1, breakable: false)[#"b";], [#"3";]' in table


def test_no_type_of_the_pages_is_small() -> None:
    sizes = re.findall(r"(?:size: |text\()([\d.]+)(\w+)", PREAMBLE)
    assert len(sizes) > 5
    assert all(unit == "pt" and float(size) >= 9 for size, unit in sizes)
