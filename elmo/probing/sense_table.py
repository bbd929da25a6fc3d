"""The sense task: a table of texts, in each of which one word is labelled with its sense."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from elmo.data.readers import Column, is_table, read_table
from elmo.errors import DataError
from elmo.probing.words import Document, Word

SENSES = "senses"
COLUMNS = ("text", "sense")  # and the position of the word, where it is not marked
_MARKED = re.compile(r"\[([^\[\]\s]+)\]")


def read_senses(path: Path, columns: Sequence[str]) -> list[Document]:
    """Read a table of labelled words.

    Args:
        path: `.csv`, `.tsv`, `.jsonl` or `.parquet`, see `elmo.data.readers.read_table`.
        columns: names of the columns with the text, the sense and, where a third is named, the
            number of the word in the text, from 0, between white space. Without it, the word stands
            in brackets: "The [pitch] was wet".

    Raises:
        DataError: the file is no table, has no rows, or a row does not show one word; the message
            counts rows without the header.
        ConfigError: it does not have the columns.
    """
    if not is_table(path):
        raise DataError(f"{path}: expected a table for --task senses, .csv, .tsv, .jsonl, .parquet")
    wanted = [Column(name, "--columns", is_label=index > 0) for index, name in enumerate(columns)]
    documents = [
        _document(f"{path}, row {row}", *values)
        for row, values in enumerate(read_table(path, wanted), start=1)
    ]
    if not documents:
        raise DataError(f"{path}: no rows in it; expected a text and a sense in each")
    return documents


def _document(place: str, text: str, sense: str, position: str | None = None) -> Document:
    """Return the words between white space, the labelled one in its brackets being a unit."""
    if not sense:
        raise DataError(f"{place}: the sense is empty")
    if position is not None:
        units = text.split()
        if not position.isdecimal() or int(position) >= len(units):
            raise DataError(
                f"{place}: position {position!r}, expected 0 to {len(units) - 1}: the text has "
                f"{len(units)} words between white space"
            )
        unit = int(position)
    else:
        found = list(_MARKED.finditer(text))
        if len(found) != 1:
            raise DataError(
                f"{place}: {len(found)} words in brackets, expected one, as in 'The [pitch] was "
                "wet'; or name a column with its position in --columns text,sense,position"
            )
        units = [text[: found[0].start()], found[0][1], text[found[0].end() :]]
        unit = 1
    return Document(units, [Word(units[unit].lower(), unit, 0, None, {SENSES: sense})])
