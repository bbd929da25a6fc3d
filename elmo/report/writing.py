"""The text of a report as Markdown, with numbered tables and figures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from elmo.utils.terminal import markdown_table


class Manuscript:
    """Collects the Markdown of a report and the figures in it.

    Attributes:
        figures: SVG by file name.
        left_out: each section that is left out, with the reason.

    Args:
        folder: the folder of the figures, as the Markdown names it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.figures: dict[str, bytes] = {}
        self.left_out: list[tuple[str, str]] = []
        self.suffix = ""  # of headings, names of figures and what is left out
        self._parts: list[str] = []
        self._tables = 0

    @property
    def text(self) -> str:
        """The Markdown that was collected so far."""
        return "\n\n".join(self._parts) + "\n"

    def heading(self, title: str, level: int = 2) -> None:
        """Add a heading."""
        self._parts.append(f"{'#' * level} {title}{self.suffix}")

    def paragraph(self, *sentences: str) -> None:
        """Add a paragraph of the sentences that are not empty; nothing where all are."""
        if kept := [sentence for sentence in sentences if sentence]:
            self._parts.append(" ".join(kept))

    def items(self, lines: Sequence[str]) -> None:
        """Add a list with dashes."""
        self._parts.append("\n".join(f"- {line}" for line in lines))

    def table(self, caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table with its caption; columns of numbers are aligned to the right."""
        self._tables += 1
        self._parts.append(f"**Table {self._tables}.** {caption}")
        right = [
            column
            for column in range(len(header))
            if rows and all(_is_numeric(row[column]) for row in rows)
        ]
        self._parts.append(markdown_table(header, rows, right))

    def figure(self, name: str, caption: str, svg: bytes) -> None:
        """Add a figure with its caption."""
        name += re.sub(r"\W+", "_", self.suffix)
        file = f"{name}.svg"
        self.figures[file] = svg
        self._parts.append(f"![{name.replace('_', ' ')}]({self.folder}/{file})")
        self._parts.append(f"**Figure {len(self.figures)}.** {caption}")

    def leave_out(self, section: str, reason: str) -> None:
        """Record that a section is left out, and why."""
        self.left_out.append((f"{section}{self.suffix}", reason))

    def include(self, markdown: str) -> None:
        """Add text that was written by hand."""
        self._parts.append(markdown.strip())


def _is_numeric(text: str) -> bool:
    """Tell whether a cell holds one number, several of them, or nothing."""
    marks = str.maketrans("", "", " .,%+-±<x/()")
    plain = text.translate(marks).replace("to", "")
    return not plain or plain.isdigit()


def number(value: float, digits: int = 4) -> str:
    """Return a number as text, empty for NaN."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def with_deviation(mean: float, deviation: float, digits: int = 4) -> str:
    """Return `MEAN ± DEVIATION`, without the deviation where it is NaN."""
    spread = "" if math.isnan(deviation) else f" ± {number(deviation, digits)}"
    return number(mean, digits) + spread
