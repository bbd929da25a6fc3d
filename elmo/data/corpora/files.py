"""Corpora in files of one's own: plain text for pretraining, tables with classes."""

from __future__ import annotations

import glob
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import IterableDataset

from elmo.data.readers import Column, is_table, read_documents, read_table
from elmo.data.user_corpus import NO_CLASSES, Labelled, StreamedCorpus, UserCorpus, list_of
from elmo.errors import ConfigError, DataError
from elmo.utils.files import sha256_of


class FileCorpus(UserCorpus, ABC):
    """What corpora in files share.

    Args:
        files: paths and globs, one or a list; `~` is the home folder.
        test_files: likewise, with the test split; None draws it.
    """

    def __init__(
        self,
        files: str | Sequence[str] | None,
        test_files: str | Sequence[str] | None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.files = list_of(files)
        self.test_files = list_of(test_files)

    @property
    def has_test_split(self) -> bool:
        return bool(self.test_files)

    @cached_property
    def paths(self) -> dict[str, list[Path]]:
        """The files of each split that comes with the data, globs resolved.

        Raises:
            ConfigError: no files are named.
            DataError: nothing is there.
        """
        if not self.files:
            raise ConfigError("data.files is not set; name files, such as data.files='news/*.txt'")
        found = {"train": _resolved("data.files", self.files)}
        if self.test_files:
            found["test"] = _resolved("data.test_files", self.test_files)
        return found

    @property
    @abstractmethod
    def columns(self) -> list[Column]:
        """What is read of a table."""

    def source_fingerprint(self) -> str:
        content = {
            split: [sha256_of(path) for path in paths] for split, paths in self.paths.items()
        }
        key = [content, [column.name for column in self.columns], self.test_share]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()


class TextFiles(StreamedCorpus, FileCorpus):
    """Text for pretraining, without classes.

    Args:
        text_column: of tables; None where all files are plain text, a document a line.
    """

    has_labels = False

    def __init__(self, text_column: str | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.text_column = text_column

    @property
    def columns(self) -> list[Column]:
        return [Column(self.text_column, "data.text_column")]

    def documents(self, split: str) -> Iterator[Labelled]:
        paths = self.paths[split]
        most = math.ceil(self.sample_documents / len(paths)) if self.streaming else None
        for path in paths:
            for text in islice(read_documents(path, self.text_column, "data.text_column"), most):
                yield Labelled(text, NO_CLASSES[0])

    def stream(self, parts: list[int], of: int) -> IterableDataset:
        shares = [
            (str(path), self.text_column, part, of)
            for path in self.paths["train"]
            for part in parts
        ]
        return IterableDataset.from_generator(every_so_many, gen_kwargs={"shares": shares})

    def source_fingerprint(self) -> str:
        """Of a stream: the sizes of its files and their first megabyte, because it may be long."""
        if not self.streaming:
            return super().source_fingerprint()
        content = hashlib.sha256(f"{self.sample_documents} {self.test_share}".encode())
        for path in (path for paths in self.paths.values() for path in paths):
            with path.open("rb") as handle:
                content.update(f"{path.stat().st_size} ".encode() + handle.read(2**20))
        return content.hexdigest()


def every_so_many(shares: list[tuple[str, str | None, int, int]]) -> Iterator[dict[str, str]]:
    """Of each file, by its name and column, the documents of one of so many parts."""
    for file, column, part, of in shares:
        for text in islice(read_documents(Path(file), column, "data.text_column"), part, None, of):
            yield {"text": text}


class TableFiles(FileCorpus):
    """Documents with classes, in tables.

    Args:
        text_column: the column with the text; several are joined with a space.
        label_column: the column with the classes: strings, whole numbers or booleans.
    """

    has_labels = True

    def __init__(
        self, text_column: str | Sequence[str] | None, label_column: str | None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.text_column = text_column
        self.label_column = label_column

    @property
    def columns(self) -> list[Column]:
        texts: list[str | None] = [*list_of(self.text_column)]
        return [
            *(Column(name, "data.text_column") for name in texts or [None]),
            Column(self.label_column, "data.label_column", is_label=True),
        ]

    def documents(self, split: str) -> Iterator[Labelled]:
        for path in self.paths[split]:
            if not is_table(path):
                raise ConfigError(
                    f"{path}: plain text has no classes; expected a table, .csv, .tsv, .jsonl or "
                    ".parquet, or data=text for pretraining alone"
                )
            for *texts, label in read_table(path, self.columns):
                yield Labelled(" ".join(texts), label)


def _resolved(key: str, names: list[str]) -> list[Path]:
    """Files by name, each once, those of a glob in the order of their names."""
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name).expanduser()
        matches = (
            [path] if path.exists() else map(Path, sorted(glob.glob(str(path), recursive=True)))
        )
        files = [match for match in matches if match.is_file()]
        if not files:
            raise DataError(f"{key}: {name}: no such file; expected a file, or a glob of files")
        found |= dict.fromkeys(files)
    return list(found)
