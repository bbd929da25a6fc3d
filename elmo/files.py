"""Corpora in files of one's own: plain text for pretraining, tables with classes."""

from __future__ import annotations

import glob
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from datasets import IterableDataset

from elmo.corpora import Corpus, RawRow
from elmo.documents import Column, is_table, read_documents, read_table
from elmo.errors import ConfigError, DataError
from elmo.runs import sha256_of

NO_CLASSES = ("document",)  # of a corpus without labels
MOST_CLASSES = 1000


class Labelled(NamedTuple):
    """A document of a source, and its class by name."""

    text: str
    label: str


class OwnCorpus(Corpus, ABC):
    """A corpus that a user brings: its classes stand in the data, its test split may be drawn.

    Where no test split comes with the data, a document goes there by a hash of its text, so that
    equal documents stay together and more documents leave the others where they are.

    Args:
        name: of the corpus, by which models trained on it are found again.
        test_share: of the documents, where a test split is drawn.
    """

    def __init__(self, name: str, test_share: float, **arguments: Any) -> None:
        super().__init__(**arguments)
        if not 0 < test_share < 1:
            raise ConfigError(f"data.test_share is {test_share}; expected between 0 and 1")
        if not name or Path(name).name != name or name.startswith("."):
            raise ConfigError(f"data.name is {name!r}; expected a name that a file may have")
        self.name = name
        self.test_share = test_share

    @property
    @abstractmethod
    def has_test_split(self) -> bool:
        """Whether a test split comes with the data."""

    @property
    @abstractmethod
    def has_labels(self) -> bool:
        """Whether documents have classes."""

    @abstractmethod
    def documents(self, split: str) -> Iterator[Labelled]:
        """What comes with the data as `train` or `test`."""

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return self.labels_found()

    def labels_found(self) -> tuple[str, ...]:
        """The labels that stand in the train split, numbers by size, others by the alphabet.

        Raises:
            ConfigError: there are so many that they cannot be classes.
        """
        if not self.has_labels:
            return NO_CLASSES
        names: set[str] = set()
        for _, label in self.documents("train"):
            names.add(label)
            if len(names) > MOST_CLASSES:
                raise ConfigError(
                    f"data.label_column: more than {MOST_CLASSES:,} classes, such as "
                    f"{', '.join(map(repr, sorted(names)[:3]))}; expected a column of classes"
                )
        return tuple(in_order(names))

    def read(self, split: str) -> Iterator[RawRow]:
        labels = {name: index for index, name in enumerate(self.class_names)}
        drawn = not self.has_test_split
        source = self.documents("train" if drawn else split)
        for row, (text, label) in enumerate(source):
            if drawn and self._is_drawn(text) != (split == "test"):
                continue
            if label not in labels:
                raise DataError(
                    f"data={self.name}: row {row} of the test split has the class {label!r}, which "
                    f"no train row has; expected one of {', '.join(self.class_names)}"
                )
            yield RawRow(row, text, labels[label])

    def _is_drawn(self, text: str) -> bool:
        words = " ".join(text.lower().split())
        digest = hashlib.blake2b(words.encode(), digest_size=8, key=b"%d" % self.split_seed)
        return int.from_bytes(digest.digest(), "little") < self.test_share * 2**64


def in_order(names: Iterable[str]) -> list[str]:
    """Numbers by size where all are whole numbers, else by the alphabet."""
    names = list(names)
    numbers = all(name.removeprefix("-").isdecimal() for name in names)
    return sorted(names, key=int) if numbers else sorted(names)


def list_of(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


class StreamedCorpus(OwnCorpus, ABC):
    """A corpus that can be streamed.

    Then its splits are drawn from a sample, the first documents of each file: vocabulary, word
    vectors, validation and test come from there, and pretraining reads all other documents.

    Args:
        streaming: read the source again and again instead of preparing all of it once.
        sample_documents: in the sample, at most.
    """

    def __init__(
        self, streaming: bool = False, sample_documents: int = 100_000, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        if sample_documents < 1:
            raise ConfigError(f"data.sample_documents is {sample_documents}; expected 1 or more")
        self.streaming = streaming
        self.sample_documents = sample_documents

    @abstractmethod
    def stream(self, parts: list[int], of: int) -> IterableDataset: ...


class FileCorpus(OwnCorpus, ABC):
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
