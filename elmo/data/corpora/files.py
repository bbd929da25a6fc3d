"""Corpora in files of the user: plain text for pretraining, tables with classes."""

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
from elmo.data.user_corpus import NO_CLASSES, LabelledText, StreamedCorpus, UserCorpus, as_list
from elmo.errors import ConfigError, DataError
from elmo.utils.files import sha256_of


class FileCorpus(UserCorpus, ABC):
    """The base class of corpora in files.

    Args:
        files: a path or glob, or a list of them; `~` is the home folder.
        test_files: the same for the test split; None draws the test split.
    """

    def __init__(
        self,
        files: str | Sequence[str] | None,
        test_files: str | Sequence[str] | None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.files = as_list(files)
        self.test_files = as_list(test_files)

    @property
    def has_test_split(self) -> bool:
        return bool(self.test_files)

    @cached_property
    def paths(self) -> dict[str, list[Path]]:
        """The files of each split that the data have, with globs resolved.

        Raises:
            ConfigError: `files` is empty.
            DataError: a path or glob matches no file.
        """
        if not self.files:
            raise ConfigError("data.files is not set; set it, such as data.files='news/*.txt'")
        paths = {"train": _resolve("data.files", self.files)}
        if self.test_files:
            paths["test"] = _resolve("data.test_files", self.test_files)
        return paths

    @property
    @abstractmethod
    def columns(self) -> list[Column]:
        """The columns to read from a table."""

    def source_fingerprint(self) -> str:
        content = {
            split: [sha256_of(path) for path in paths] for split, paths in self.paths.items()
        }
        key = [content, [column.name for column in self.columns], self.test_share]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()


class TextFiles(StreamedCorpus, FileCorpus):
    """Text for pretraining, without classes.

    Args:
        text_column: the column of tables with the text; None if all files are plain text, with a
            document on each line.
    """

    has_labels = False

    def __init__(self, text_column: str | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.text_column = text_column

    @property
    def columns(self) -> list[Column]:
        return [Column(self.text_column, "data.text_column")]

    def documents(self, split: str) -> Iterator[LabelledText]:
        paths = self.paths[split]
        limit = math.ceil(self.sample_documents / len(paths)) if self.streaming else None
        for path in paths:
            for text in islice(read_documents(path, self.text_column, "data.text_column"), limit):
                yield LabelledText(text, NO_CLASSES[0])

    def stream(self, parts: list[int], num_parts: int) -> IterableDataset:
        shards = [
            (str(path), self.text_column, part, num_parts)
            for path in self.paths["train"]
            for part in parts
        ]
        return IterableDataset.from_generator(read_shards, gen_kwargs={"shards": shards})

    def source_fingerprint(self) -> str:
        """Return a hash of the files; of a stream, only of their sizes and first megabytes."""
        if not self.streaming:
            return super().source_fingerprint()
        content = hashlib.sha256(f"{self.sample_documents} {self.test_share}".encode())
        for path in (path for paths in self.paths.values() for path in paths):
            with path.open("rb") as handle:
                content.update(f"{path.stat().st_size} ".encode() + handle.read(2**20))
        return content.hexdigest()


def read_shards(shards: list[tuple[str, str | None, int, int]]) -> Iterator[dict[str, str]]:
    """Read every `num_parts`-th document of files, from number `part` on.

    Args:
        shards: for each, the path of the file, its column, `part` (from 0) and `num_parts`.
    """
    for file, column, part, num_parts in shards:
        documents = read_documents(Path(file), column, "data.text_column")
        yield from ({"text": text} for text in islice(documents, part, None, num_parts))


class TableFiles(FileCorpus):
    """Documents with classes, in tables.

    Args:
        text_column: the column with the text; the texts of several columns are joined by spaces.
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
        texts: list[str | None] = [*as_list(self.text_column)]
        return [
            *(Column(name, "data.text_column") for name in texts or [None]),
            Column(self.label_column, "data.label_column", is_label=True),
        ]

    def documents(self, split: str) -> Iterator[LabelledText]:
        for path in self.paths[split]:
            if not is_table(path):
                raise ConfigError(
                    f"{path}: plain text has no classes; expected a table, .csv, .tsv, .jsonl or "
                    ".parquet, or data=text for pretraining alone"
                )
            for *texts, label in read_table(path, self.columns):
                yield LabelledText(" ".join(texts), label)


def _resolve(key: str, names: list[str]) -> list[Path]:
    """Return the files that paths and globs name, each once; those of a glob in sorted order."""
    unique: dict[Path, None] = {}
    for name in names:
        path = Path(name).expanduser()
        matches = (
            [path] if path.exists() else map(Path, sorted(glob.glob(str(path), recursive=True)))
        )
        files = [match for match in matches if match.is_file()]
        if not files and path.is_dir():
            raise DataError(f"{key}: {name}: a folder; expected a file, or a glob such as {name}/*")
        if not files:
            raise DataError(f"{key}: {name}: no such file; expected a file, or a glob of files")
        unique |= dict.fromkeys(files)
    return list(unique)
