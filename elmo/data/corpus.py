"""The base class of corpora: documents cleaned, and split into train, validation and test."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    Value,
    disable_progress_bars,
    load_from_disk,
)

from elmo.data.splitting import text_digests, train_validation_split
from elmo.data.text import CLEANING_RULES, WordTokenizer, clean, pattern_of
from elmo.errors import ConfigError, check_range
from elmo.utils.cache import cached

log = logging.getLogger(__name__)

BLOCK = 1000  # rows in memory at once


CLAUSES = {  # of the line on a corpus, for one row and for several
    "train_rows_in_source": ("train row", "train rows"),
    "empty_train_rows": ("dropped because it is empty", "dropped because they are empty"),
    "train_rows_also_in_test": (
        "dropped because the test split contains it",
        "dropped because the test split contains them",
    ),
    "repeated_rows": ("with a text that occurs again", "with texts that occur more than once"),
    "descriptions_with_conflicting_labels": (
        "text with more than one label",
        "texts with more than one label",
    ),
    "train_rows_also_in_validation": (
        "dropped because the validation split contains it",
        "dropped because the validation split contains them",
    ),
    "empty_test_rows": ("empty test row dropped", "empty test rows dropped"),
}


class RawRow(NamedTuple):
    """A row of a source.

    Attributes:
        row: its number in the source, from 0.
        text: the text before cleaning.
        label: its class, from 0.
    """

    row: int
    text: str
    label: int


class Corpus(ABC):
    """Cleaned documents with their labels, in splits that depend on `split_seed` alone.

    Args:
        split_seed: draws the validation rows. It is not the run's seed, so that the rows that
            select the classifier were never in the biLM's train split.
        validation_size: rows taken from the train split for validation; below 1 their share.
        min_count: words that occur less often in the train split are unknown.
        max_vocabulary: maximum of V; None for no limit.
        lowercase: whether "Apple" and "apple" are the same word.
        pre_tokenizer: how words are found, by a name in `elmo.data.text.PATTERNS`: `words`, or
            `white_space` for texts that are tokenized already.
        cache_dir: folder for prepared data.
        validation_blocks: number of blocks of consecutive rows that the validation rows are drawn
            in; None draws single rows.

    Attributes:
        name: the name of the corpus in runs, reports and cache folders.
        redistributable: whether a run may show its text.
        streaming: whether its splits are drawn from a sample, see `StreamedCorpus`.

    Raises:
        ConfigError: `validation_size` is neither a number of rows nor a share, or there is no such
            pre-tokenizer.
    """

    name: str
    redistributable = False
    streaming = False

    def __init__(
        self,
        split_seed: int,
        validation_size: float,
        min_count: int,
        max_vocabulary: int | None,
        cache_dir: str,
        lowercase: bool = True,
        pre_tokenizer: str = "words",
        validation_blocks: int | None = None,
    ) -> None:
        if validation_size <= 0 or (validation_size >= 1 and validation_size % 1):
            raise ConfigError(
                f"data.validation_size is {validation_size}; expected a number of rows, 1 or more, "
                "or a share of them between 0 and 1"
            )
        check_range({"data.validation_blocks": validation_blocks}, at_least=1)
        pattern_of(pre_tokenizer)
        self.split_seed = split_seed
        self.validation_size = validation_size
        self.min_count = min_count
        self.max_vocabulary = max_vocabulary
        self.lowercase = lowercase
        self.pre_tokenizer = pre_tokenizer
        self.cache_dir = Path(cache_dir)
        self.validation_blocks = validation_blocks

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The class names in the order of the labels; a single one if there are no classes."""

    def check_classes(self) -> None:
        """Check that the corpus has at least two classes, as a classifier needs.

        Raises:
            ConfigError: it has one.
        """
        if len(self.class_names) < 2:
            raise ConfigError(
                f"data={self.name} has one class, {self.class_names[0]!r}; a classifier needs two "
                "or more; set a column with classes, data=table data.label_column=COLUMN"
            )

    @abstractmethod
    def source_fingerprint(self) -> str:
        """Return a hash of the content that `read` would give."""

    @abstractmethod
    def read(self, split: str) -> Iterator[RawRow]:
        """Read the rows of the source's `train` or `test` split."""

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the source, the cleaning rules and the choice of the validation rows."""
        rules = [
            # A function has no content to hash, so its name is hashed instead.
            (
                rule.name,
                rule.pattern.pattern,
                rule.pattern.flags,
                getattr(rule.replacement, "__name__", rule.replacement),
            )
            for rule in CLEANING_RULES
        ]
        key = [self.name, self.source_fingerprint(), rules, self.split_seed, self.validation_size]
        if self.validation_blocks is not None:
            key.append(self.validation_blocks)
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]

    @property
    def variant(self) -> str:
        """What tells the splits from the default ones of this corpus; empty where nothing does."""
        if self.validation_blocks is None:
            return ""
        blocks = "block" if self.validation_blocks == 1 else "blocks"
        return f"validation rows in {self.validation_blocks} {blocks}"

    @property
    def identity(self) -> dict[str, str]:
        """What a record says of which corpus and which splits its figures are of."""
        variant = {"variant": self.variant} if self.variant else {}
        return {"name": self.name, "fingerprint": self.fingerprint, **variant}

    @property
    def _folder(self) -> Path:
        return self.cache_dir / "corpora" / f"{self.name}-{self.fingerprint}"

    @cached_property
    def splits(self) -> DatasetDict:
        """The train, validation and test split, with the columns `text`, `label` and `row`.

        `text: str`, `label: int` (a ClassLabel, which has the class names), and `row: int`, the
        number of the row in its source. Built once, then memory-mapped from `cache_dir`; the key is
        the `fingerprint`.
        """
        return load_from_disk(str(cached(self._folder, self._build)))

    @cached_property
    def facts(self) -> dict[str, int]:
        """The numbers of rows read, kept, dropped and repeated in cleaning and splitting."""
        _ = self.splits  # builds the file
        return json.loads((self._folder / "facts.json").read_text())

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """The tokenizer of the train split; a pretrained biLM brings its own instead."""
        rules = (self.min_count, self.max_vocabulary, self.lowercase, self.pre_tokenizer)
        content = [self.fingerprint, pattern_of(self.pre_tokenizer), *rules]
        key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        folder = self.cache_dir / "tokenizers" / f"{self.name}-{key}"

        def build(path: Path) -> None:
            texts = texts_of(self.splits["train"])
            tokenizer = WordTokenizer.train(texts, *rules)
            (path / "tokenizer.json").write_text(tokenizer.json)

        return WordTokenizer((cached(folder, build) / "tokenizer.json").read_text())

    def _build(self, folder: Path) -> None:
        """Clean the rows, drop train rows that are in the test split, draw validation rows, save.

        Rows go from file to file in blocks: only the digest of each row stays in memory.
        """
        disable_progress_bars()
        facts: dict[str, int] = {}
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            test, test_digests = self._write_cleaned("test", Path(temporary), facts)
            train, train_digests = self._write_cleaned("train", Path(temporary), facts)
            size = self.validation_size
            wanted = max(1, round(size * len(train) if size < 1 else size))
            labels = column(train, "label")
            chosen = train_validation_split(
                train_digests,
                labels,
                test_digests,
                wanted,
                self.split_seed,
                self.validation_blocks,
            )
            kept, drawn = len(chosen.train), len(chosen.validation)
            if not kept or not len(test) or drawn < wanted:
                raise ConfigError(
                    f"data.validation_size is {size}, but data={self.name} has "
                    f"{drawn + kept} usable train rows and {len(test)} test rows; "
                    "expected fewer validation than train rows, and at least one test row"
                )
            splits = DatasetDict(
                train=train.select(chosen.train),
                validation=train.select(chosen.validation),
                test=test,
            )
            splits.save_to_disk(str(folder))
        facts |= chosen.facts
        facts |= {f"{split}_rows": len(rows) for split, rows in splits.items()}
        (folder / "facts.json").write_text(json.dumps(facts, indent=2))

    def _write_cleaned(
        self, split: str, folder: Path, facts: dict[str, int]
    ) -> tuple[Dataset, np.ndarray]:
        """Write the rows that are not empty once cleaned to a file in `folder`, and count them.

        Returns:
            The rows, memory-mapped from the file, and their digests.
        """
        features = Features(
            text=Value("string"), label=ClassLabel(names=list(self.class_names)), row=Value("int64")
        )
        schema = features.arrow_schema
        file = str(folder / f"{split}.arrow")
        source = self.read(split)
        in_source = 0
        digests = [text_digests([])]
        with pa.OSFile(file, "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            while block := list(islice(source, BLOCK)):
                cleaned = [RawRow(row, clean(text), label) for row, text, label in block]
                kept = [row for row in cleaned if row.text]
                in_source += len(block)
                digests.append(text_digests(row.text for row in kept))
                columns = {field: [getattr(row, field) for row in kept] for field in features}
                writer.write_batch(pa.record_batch(columns, schema))
        rows = Dataset.from_file(file)
        facts[f"{split}_rows_in_source"] = in_source
        facts[f"empty_{split}_rows"] = in_source - len(rows)
        return rows, np.concatenate(digests)


def in_words(facts: Mapping[str, int]) -> str:
    """Return the facts of a corpus as one line; what is zero is left out."""
    clauses = [
        f"{facts[key]:,} {one if facts[key] == 1 else several}"
        for key, (one, several) in CLAUSES.items()
        if facts.get(key)
    ]
    splits = [f"{facts[f'{split}_rows']:,} {split}" for split in ("train", "validation", "test")]
    return f"{', '.join(clauses)}; split into {', '.join(splits)}"


def texts_of(rows: Dataset) -> Iterator[str]:
    """Yield the texts of a split, which are read block by block."""
    for block in rows.iter(BLOCK):
        yield from block["text"]


def column(rows: Dataset, name: str) -> np.ndarray:
    """Read a column of numbers (N,) without a Python object for each row."""
    return rows.with_format("numpy", columns=[name])[:][name]
