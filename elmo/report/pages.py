"""From the Markdown of a report to its pages, set in Typst."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import typst
from markdown_it import MarkdownIt
from markdown_it.token import Token

PREAMBLE = """
#set document(title: TITLE)
#set page(paper: "a4", margin: (x: 2.5cm, top: 2.4cm, bottom: 2.4cm), numbering: "1")
#set text(font: "Libertinus Serif", size: 10pt, lang: "en")
#set par(justify: true, leading: 0.58em, spacing: 0.85em)
#set heading(numbering: none)
#show heading.where(level: 1): it => align(center, block(below: 1.4em, text(17pt, it.body)))
#show heading.where(level: 2): it => block(
  above: 1.7em, below: 0.8em, sticky: true, text(12.5pt, it.body))
#show heading.where(level: 3): it => block(
  above: 1.3em, below: 0.7em, sticky: true, text(10.5pt, it.body))
#show raw: set text(font: "DejaVu Sans Mono", size: 0.84em)
#show table: set text(size: 8.2pt)
#show table: set par(justify: false)
#set table(stroke: none, inset: (x: 0.45em, y: 0.28em))
#let caption(body) = block(above: 1.1em, below: 0.7em, sticky: true, text(size: 8.8pt, body))
#let note(body) = block(above: 0.6em, below: 1.5em, text(size: 8.8pt, body))
#let ruled(breakable, ..arguments) = block(
  width: 100%, breakable: breakable, below: 1.5em, align(center, table(..arguments)))
"""

LONG = 25  # rows of a table that may be cut by the end of a page

Links = Mapping[str, bytes]


def to_pdf(markdown: str, figures: Links, folder: str) -> bytes:
    """The pages as PDF; the same text gives the same bytes.

    Args:
        figures: SVG by file name.
        folder: where the Markdown says that they lie.
    """
    title = re.search("^# (.*)$", markdown, re.MULTILINE)
    head = PREAMBLE.replace("TITLE", json.dumps(title[1] if title else ""))
    body = "".join(_blocks(MarkdownIt().enable("table").parse(markdown), folder))
    files: Any = {"main.typ": (head + body).encode(), **figures}
    return typst.compile(files, timestamp=datetime.fromtimestamp(0, UTC), ignore_system_fonts=True)


def _text(plain: str) -> str:
    """As a string of Typst, so that no character of it is markup."""
    return f"#{json.dumps(plain, ensure_ascii=False)};"


def _inline(tokens: list[Token]) -> str:
    found = []
    for token in tokens:
        match token.type:
            case "text":
                found.append(_text(token.content))
            case "softbreak" | "hardbreak":
                found.append(" ")
            case "code_inline":
                found.append(f"#raw({json.dumps(token.content, ensure_ascii=False)});")
            case "strong_open":
                found.append("#strong[")
            case "em_open":
                found.append("#emph[")
            case "link_open":
                found.append(f"#link({json.dumps(token.attrGet('href'))})[")
            case "strong_close" | "em_close" | "link_close":
                found.append("];")
            case other:
                raise ValueError(f"a report has no {other}")
    return "".join(found)


def _blocks(tokens: list[Token], folder: str) -> Iterator[str]:
    """The blocks of a document; what it holds is in the hands of `elmo.report.writing`."""
    position = 0
    while position < len(tokens):
        token = tokens[position]
        match token.type:
            case "heading_open":
                yield f"{'=' * int(token.tag[1:])} {_inline(_children(tokens[position + 1]))}\n\n"
                position += 3
            case "paragraph_open":
                yield _paragraph(_children(tokens[position + 1]), folder)
                position += 3
            case "bullet_list_open":
                end = _end(tokens, position)
                yield from _list(tokens[position + 1 : end])
                position = end + 1
            case "table_open":
                end = _end(tokens, position)
                yield _table(tokens[position + 1 : end])
                position = end + 1
            case "fence":
                yield f"#raw({json.dumps(token.content.strip())}, block: true)\n\n"
                position += 1
            case other:
                raise ValueError(f"a report has no {other}")


def _children(token: Token) -> list[Token]:
    return token.children or []


def _end(tokens: list[Token], start: int) -> int:
    """Where the block that opens at `start` closes."""
    close = tokens[start].type.replace("_open", "_close")
    return next(
        index
        for index in range(start, len(tokens))
        if tokens[index].type == close and tokens[index].level == tokens[start].level
    )


def _paragraph(children: list[Token], folder: str) -> str:
    if children and children[0].type == "image":
        file = str(children[0].attrGet("src")).removeprefix(f"{folder}/")
        alt = json.dumps(children[0].content)
        image = f"image({json.dumps(file)}, width: 100%, alt: {alt})"
        return f"#block(sticky: true, above: 1.4em, {image})\n\n"
    text = _inline(children)
    if text.startswith('#strong[#"Table'):
        return f"#caption[{text}]\n\n"
    if text.startswith('#strong[#"Figure'):
        return f"#note[{text}]\n\n"
    return f"{text}\n\n"


def _list(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "inline":
            yield f"- {_inline(_children(token))}\n"
    yield "\n"


def _table(tokens: list[Token]) -> str:
    header: list[str] = []
    cells: list[str] = []
    aligns: list[str] = []
    into = header
    for index, token in enumerate(tokens):
        if token.type == "tbody_open":
            into = cells
        if token.type in ("th_open", "td_open"):
            into.append(f"[{_inline(_children(tokens[index + 1]))}]")
            if token.type == "th_open":
                style = str(token.attrGet("style") or "")
                aligns.append("right" if style.endswith("right") else "left")
    head = ", ".join(f"strong({cell})" for cell in header)
    parts = [
        f"columns: {len(header)}",
        f"align: ({', '.join(aligns)},)",
        "table.hline(stroke: 0.8pt)",
        f"table.header({head})",
        "table.hline(stroke: 0.4pt)",
        *cells,
        "table.hline(stroke: 0.8pt)",
    ]
    long = len(cells) > LONG * len(header)
    return f"#ruled({str(long).lower()}, {', '.join(parts)})\n\n"
