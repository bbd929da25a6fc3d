"""Messages and tables in the terminal, and tables in Markdown."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence


def say(message: str) -> None:
    """Print a message to standard error: standard output is for results alone."""
    print(message, file=sys.stderr, flush=True)


def terminal_width() -> int:
    """Return the width of the terminal, 80 where standard output is none."""
    from rich.console import Console

    return Console().width


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str = "",
    *,
    right: Collection[int] = (),
    sections: Collection[int] = (),
    widths: Sequence[int] | None = None,
) -> None:
    """Print a table to standard output; a cell that is too long is folded, never cut.

    Args:
        right: numbers of the columns that are aligned to the right.
        sections: numbers of the rows that a line follows.
        widths: of the columns, even where that is wider than the terminal; None fits the terminal.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # As Text, because brackets in a string would be Rich's markup.
    table = Table(title=Text(title) if title else None, title_justify="left")
    for index, name in enumerate(header):
        table.add_column(
            Text(name),
            overflow="fold",
            justify="right" if index in right else "left",
            width=widths[index] if widths else None,
        )
    for number, row in enumerate(rows):
        table.add_row(*map(Text, row), end_section=number in sections)
    if widths:
        console.width = sum(widths) + 3 * len(widths) + 1
    console.print(table)


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """Return a table in Markdown, without a line break at its end.

    Args:
        right: numbers of the columns that are aligned to the right.
    """
    rule = ["---:" if index in right else "---" for index in range(len(header))]
    cells = [[_markdown_cell(cell) for cell in row] for row in (header, *rows)]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown_cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")
