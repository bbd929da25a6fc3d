"""The documents in which the page searches words in context: the toy corpus, or a user's file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

from elmo.data.corpora import toy_grammar
from elmo.data.readers import Column, is_table, read_documents, read_table
from elmo.errors import ConfigError

MOST_DOCUMENTS = 5000  # read from a file; an index holds fewer words than those of so many
TOY_DOCUMENTS = 2500


class SearchedTexts:
    """The documents that are searched, with the class of each where there are classes.

    Args:
        file: a file as `read_documents` takes it; None for the toy corpus.
        column: the column of a table with the documents.
        label_column: the column with their classes; None where there are none.

    Raises:
        ConfigError: a column does not fit the file.
        DataError: the file cannot be read.
    """

    def __init__(
        self, file: Path | None = None, column: str | None = None, label_column: str | None = None
    ) -> None:
        self.file = file
        self.column = column
        self.label_column = label_column
        if file is None and (column or label_column):
            raise ConfigError("--column and --label-column name columns of --corpus, not given")
        if file is not None and label_column and not is_table(file):
            raise ConfigError(
                f"{file}: plain text has no column {label_column!r}; leave --label-column out"
            )
        if file is not None:
            next(iter(self._pairs()), None)  # what cannot be read is said at once

    @property
    def name(self) -> str:
        """What the page calls them."""
        return "the toy corpus" if self.file is None else self.file.name

    @cached_property
    def _documents(self) -> list[tuple[str, str | None]]:
        return list(islice(self._pairs(), MOST_DOCUMENTS))

    def _pairs(self) -> Iterator[tuple[str, str | None]]:
        if self.file is None:
            texts, labels = toy_grammar.generate(TOY_DOCUMENTS, seed=0)
            names = toy_grammar.CLASS_NAMES
            yield from ((text, names[label]) for text, label in zip(texts, labels, strict=True))
        elif self.label_column:
            columns = [
                Column(self.column),
                Column(self.label_column, "--label-column", is_label=True),
            ]
            yield from ((text, label) for text, label in read_table(self.file, columns))
        else:
            yield from ((text, None) for text in read_documents(self.file, self.column))

    def read(self) -> list[str]:
        """Return the documents, `MOST_DOCUMENTS` at most."""
        return [text for text, _ in self._documents]

    def label(self, row: int) -> str | None:
        """Return the class of a document of `read`; None where there are none."""
        return self._documents[row][1]

    @property
    def is_cut(self) -> bool:
        """Whether the file may have more documents than were read."""
        return len(self._documents) == MOST_DOCUMENTS
