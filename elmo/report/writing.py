"""The text of a report as Markdown: numbered tables and figures, sections that may be missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from elmo.utils.terminal import markdown_table


class Manuscript:
    """Collects Markdown and the figures it shows.

    Attributes:
        figures: SVG by file name.
        missing: what was left out, and why.

    Args:
        folder: where the figures will lie, as the Markdown names it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.figures: dict[str, bytes] = {}
        self.missing: list[tuple[str, str]] = []
        self._parts: list[str] = []
        self._tables = 0

    @property
    def text(self) -> str:
        return "\n\n".join(self._parts) + "\n"

    def heading(self, title: str, level: int = 2) -> None:
        self._parts.append(f"{'#' * level} {title}")

    def paragraph(self, *sentences: str) -> None:
        if told := [sentence for sentence in sentences if sentence]:
            self._parts.append(" ".join(told))

    def items(self, lines: Sequence[str]) -> None:
        self._parts.append("\n".join(f"- {line}" for line in lines))

    def table(self, caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns of numbers stand to the right."""
        self._tables += 1
        self._parts.append(f"**Table {self._tables}.** {caption}")
        right = [
            column
            for column in range(len(header))
            if rows and all(_numeric(row[column]) for row in rows)
        ]
        self._parts.append(markdown_table(header, rows, right))

    def figure(self, name: str, caption: str, svg: bytes) -> None:
        file = f"{name}.svg"
        self.figures[file] = svg
        self._parts.append(f"![{name.replace('_', ' ')}]({self.folder}/{file})")
        self._parts.append(f"**Figure {len(self.figures)}.** {caption}")

    def without(self, section: str, reason: str) -> None:
        """Say what is left out for want of runs."""
        self.missing.append((section, reason))

    def include(self, markdown: str) -> None:
        """Text that was written by hand."""
        self._parts.append(markdown.strip())


def _numeric(text: str) -> bool:
    """A number, several of them, or nothing."""
    marks = str.maketrans("", "", " .,%+-±<x/()")
    plain = text.translate(marks).replace("to", "")
    return not plain or plain.isdigit()


def number(value: float, digits: int = 4) -> str:
    """Nothing where there is no number."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def with_deviation(mean: float, deviation: float, digits: int = 4) -> str:
    return number(mean, digits) + (
        "" if math.isnan(deviation) else f" ± {number(deviation, digits)}"
    )
