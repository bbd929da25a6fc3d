"""What corpora that a user brings share: classes from the data, a test split that may be drawn."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from datasets import IterableDataset

from elmo.data.corpus import Corpus, RawRow
from elmo.errors import ConfigError, DataError, check_range

NO_CLASSES = ("document",)  # of a corpus without labels
MOST_CLASSES = 1000


class Labelled(NamedTuple):
    """A document of a source, and its class by name."""

    text: str
    label: str


class UserCorpus(Corpus, ABC):
    """A corpus that a user brings: its classes stand in the data, its test split may be drawn.

    Where no test split comes with the data, a document goes there by a hash of its text, so that
    equal documents stay together and more documents leave the others where they are.

    Args:
        name: of the corpus, by which models trained on it are found again.
        test_share: of the documents, where a test split is drawn.
    """

    def __init__(self, name: str, test_share: float, **arguments: Any) -> None:
        super().__init__(**arguments)
        check_range({"data.test_share": test_share}, above=0, below=1)
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


class StreamedCorpus(UserCorpus, ABC):
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
        check_range({"data.sample_documents": sample_documents}, at_least=1)
        self.streaming = streaming
        self.sample_documents = sample_documents

    @abstractmethod
    def stream(self, parts: list[int], of: int) -> IterableDataset:
        """The documents for pretraining, in a column `text`.

        Args:
            parts: of the documents, one for each process that loads them.
            of: how many parts there are in all.
        """
