"""The conversion of a report from Markdown to PDF pages by Typst."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import typst
from markdown_it import MarkdownIt
from markdown_it.token import Token

from elmo.errors import DataError

PREAMBLE = """
#set document(title: TITLE)
#set page(paper: "a4", margin: (x: 2.5cm, top: 2.2cm, bottom: 2.2cm), numbering: "1")
#set text(font: "Libertinus Serif", size: 10pt, lang: "en")
#set par(justify: true, leading: 0.58em, spacing: 0.85em)
#set heading(numbering: none)
#show heading.where(level: 1): it => align(center, block(below: 1.4em, text(15pt, it.body)))
#show heading.where(level: 2): it => block(
  above: 1.7em, below: 0.8em, sticky: true, text(12.5pt, it.body))
#show heading.where(level: 3): it => block(
  above: 1.3em, below: 0.7em, sticky: true, text(10.5pt, it.body))
#show raw: set text(font: "DejaVu Sans Mono", size: 9pt)
#show table: set text(size: 9pt)
#show table: set par(justify: false)
#show outline.entry: set block(spacing: 0.55em)
#set table(stroke: none, inset: (x: 0.4em, y: 0.3em))
#let caption(body) = block(below: 0.7em, sticky: true, text(size: 9pt, body))
// A table that breaks has some rows on its first page: where no room is left, the space moves on.
#let ruled(breakable, body, ..arguments) = {
  let room = if breakable { 3.2cm } else { 0cm }
  block(height: room, above: 1.2em, below: 0pt, sticky: true)
  v(-room)
  block(
    width: 100%, breakable: breakable, above: 0pt, below: 1.6em,
    { caption(body); align(center, table(..arguments)) })
}
#let shown(picture, body) = place(auto, float: true, clearance: 1.5em, block(
  width: 100%, breakable: false,
  { picture; v(0.6em, weak: true); align(left, text(size: 9pt, body)) }))
"""
CONTENTS = """#block(above: 1.7em, below: 0.8em, sticky: true, strong(text(12.5pt)[Contents]))
#outline(title: none, target: heading.where(level: 2), indent: 0pt)

"""

LONG = 6  # a table of more rows may be broken across pages


def to_pdf(markdown: str, figures: Mapping[str, bytes], folder: str) -> bytes:
    """Return the pages as PDF; the same text gives the same bytes.

    Args:
        figures: SVG by file name.
        folder: the folder of the figures, as the Markdown names it.

    Raises:
        DataError: the Markdown contains something that a report does not have.
    """
    title = re.search("^# (.*)$", markdown, re.MULTILINE)
    head = PREAMBLE.replace("TITLE", _string(title[1] if title else ""))
    body = "".join(_blocks(MarkdownIt().enable("table").parse(markdown), folder))
    files: Any = {"main.typ": (head + body).encode(), **figures}
    return typst.compile(files, timestamp=datetime.fromtimestamp(0, UTC), ignore_system_fonts=True)


def _text(plain: str) -> str:
    """Return text as a string of Typst, so that no character of it is markup."""
    return f"#{_string(plain)};"


def _string(plain: str) -> str:
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _inline(tokens: list[Token]) -> str:
    parts = []
    for token in tokens:
        match token.type:
            case "text":
                if token.content:
                    parts.append(_text(token.content))
            case "softbreak" | "hardbreak":
                parts.append(" ")
            case "code_inline":
                parts.append(f"#raw({_string(token.content)});")
            case "strong_open":
                parts.append("#strong[")
            case "em_open":
                parts.append("#emph[")
            case "link_open":
                parts.append(f"#link({_string(str(token.attrGet('href')))})[")
            case "strong_close" | "em_close" | "link_close":
                parts.append("];")
            case other:
                raise _unknown(other)
    return "".join(parts)


def _blocks(tokens: list[Token], folder: str) -> Iterator[str]:
    """Yield the blocks of a document as Typst; only what `elmo.report.writing` writes is known.

    The caption of a table is above it, and that of a figure below. Figures move to the top or the
    bottom of a page, so that they leave no gap. The table of contents is before the first section.
    """
    position = 0
    contents = CONTENTS
    caption = image = ""
    while position < len(tokens):
        token = tokens[position]
        end = _end(tokens, position)
        inside = tokens[position + 1 : end]
        match token.type:
            case "heading_open":
                if token.tag == "h2" and contents:
                    yield contents
                    contents = ""
                yield f"{'=' * int(token.tag[1:])} {_inline(_children(inside[0]))}\n\n"
            case "paragraph_open":
                children = _children(inside[0])
                follows = tokens[end + 1].type if end + 1 < len(tokens) else ""
                if len(children) == 1 and children[0].type == "image":
                    image, text = _image(children[0], folder), ""
                else:
                    text = _inline(children)
                if follows == "table_open":
                    caption = text
                elif image and text:
                    yield f"#shown({image}, [{text}])\n\n"
                    image = ""
                elif text:
                    yield f"{text}\n\n"
            case "bullet_list_open":
                yield from (f"- {_inline(_children(t))}\n" for t in inside if t.type == "inline")
                yield "\n"
            case "table_open":
                yield _table(inside, caption)
                caption = ""
            case "fence":
                yield f"#raw({_string(token.content.strip())}, block: true)\n\n"
            case "html_block":  # a comment
                pass
            case other:
                raise _unknown(other)
        position = end + 1


def _unknown(kind: str) -> DataError:
    return DataError(
        f"the Markdown of a report cannot contain {kind.removesuffix('_open')}; expected headings, "
        "paragraphs, lists with dashes, tables, figures, blocks of code, `code`, *emphasis*, "
        "**strong** and links"
    )


def _children(token: Token) -> list[Token]:
    return token.children or []


def _end(tokens: list[Token], start: int) -> int:
    """Return the position at which the block that opens at `start` closes.

    A block of one token is its own end.
    """
    if not tokens[start].type.endswith("_open"):
        return start
    close = tokens[start].type.replace("_open", "_close")
    return next(
        index
        for index in range(start, len(tokens))
        if tokens[index].type == close and tokens[index].level == tokens[start].level
    )


def _image(token: Token, folder: str) -> str:
    file = str(token.attrGet("src")).removeprefix(f"{folder}/")
    return f"image({_string(file)}, width: 100%, alt: {_string(token.content)})"


def _table(tokens: list[Token], caption: str) -> str:
    """Return a table; an empty cell in the first column continues the one above it."""
    rows: list[list[str]] = []
    aligns: list[str] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("th_open", "td_open"):
            rows[-1].append(_inline(_children(tokens[index + 1])))
            if token.type == "th_open":
                style = str(token.attrGet("style") or "")
                aligns.append("right" if style.endswith("right") else "left")
    header, *body = rows
    starts = [place for place, row in enumerate(body) if row[0] or not place]
    groups = [body[start:end] for start, end in pairwise([*starts, len(body)])]
    cells = []
    for group in groups:
        # Rows that the cell spans stay on one page.
        cells.append(f"table.cell(rowspan: {len(group)}, breakable: false)[{group[0][0]}]")
        cells += [f"[{cell}]" for row in group for cell in row[1:]]
    parts = [
        str(len(body) > LONG).lower(),
        f"[{caption}]",
        f"columns: {len(header)}",
        f"align: ({', '.join(aligns)},)",
        "table.hline(stroke: 0.8pt)",
        f"table.header({', '.join(f'strong[{cell}]' for cell in header)})",
        "table.hline(stroke: 0.4pt)",
        *cells,
        "table.hline(stroke: 0.8pt)",
    ]
    return f"#ruled({', '.join(parts)})\n\n"
