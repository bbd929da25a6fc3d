"""The base classes of user corpora: classes from the data, a test split that may be drawn."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from datasets import IterableDataset

from elmo.data.corpus import Corpus, RawRow
from elmo.errors import ConfigError, DataError, check_range

NO_CLASSES = ("document",)  # the class names of a corpus without labels
MAX_CLASSES = 1000


class LabelledText(NamedTuple):
    """A document of a source, and the name of its class."""

    text: str
    label: str


class UserCorpus(Corpus, ABC):
    """A corpus of a user: its classes are read from the data, its test split may be drawn.

    If the data have no test split, a hash of the text decides whether a document goes there: equal
    documents stay together, and adding documents does not move the others.

    Args:
        name: the name of the corpus; jobs find models trained on it by this name.
        test_share: share of the documents in a test split that is drawn.

    Raises:
        ConfigError: the name cannot be a file name, or the share is out of range.
    """

    def __init__(self, name: str, test_share: float, **arguments: Any) -> None:
        super().__init__(**arguments)
        check_range({"data.test_share": test_share}, above=0, below=1)
        if not name or Path(name).name != name or name.startswith("."):
            raise ConfigError(f"data.name is {name!r}; expected a valid file name")
        self.name = name
        self.test_share = test_share

    @property
    @abstractmethod
    def has_test_split(self) -> bool:
        """True if the data have a test split."""

    @property
    @abstractmethod
    def has_labels(self) -> bool:
        """True if documents have classes."""

    @abstractmethod
    def documents(self, split: str) -> Iterator[LabelledText]:
        """Read the documents that the data have as `train` or `test`."""

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The labels in the train split: numbers by value, others in alphabetical order.

        Raises:
            ConfigError: there are more than `MAX_CLASSES`.
        """
        if not self.has_labels:
            return NO_CLASSES
        names: set[str] = set()
        for _, label in self.documents("train"):
            names.add(label)
            if len(names) > MAX_CLASSES:
                raise ConfigError(
                    f"data.label_column: more than {MAX_CLASSES:,} classes, such as "
                    f"{', '.join(map(repr, sorted(names)[:3]))}; expected a column of classes"
                )
        are_numbers = all(name.removeprefix("-").isdecimal() for name in names)
        return tuple(sorted(sorted(names), key=int if are_numbers else str))

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


def as_list(names: str | Sequence[str] | None) -> list[str]:
    """Return one name, several or none as a list."""
    return [names] if isinstance(names, str) else list(names or ())


class StreamedCorpus(UserCorpus, ABC):
    """A user corpus that can be streamed.

    The splits of a stream are drawn from a sample, the first documents of each file: vocabulary,
    word vectors, validation and test come from it. Pretraining reads all documents except those of
    the validation and test split.

    Args:
        streaming: whether to read the source again and again instead of preparing it once.
        sample_documents: documents in the sample, at most.

    Raises:
        ConfigError: `sample_documents` is out of range.
    """

    def __init__(
        self, streaming: bool = False, sample_documents: int = 100_000, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        check_range({"data.sample_documents": sample_documents}, at_least=1)
        self.streaming = streaming
        self.sample_documents = sample_documents

    @abstractmethod
    def stream(self, parts: list[int], num_parts: int) -> IterableDataset:
        """Return the documents for pretraining, in a column `text`.

        Args:
            parts: the parts of the documents to read, one for each loading process of this rank.
            num_parts: the number of parts of all ranks.
        """
