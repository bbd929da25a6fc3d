"""What a corpus is: descriptions cleaned and split into train, validation and test; toy news."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
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

from elmo.data.splitting import digests, divide
from elmo.data.text import CLEANING_RULES, WordTokenizer, clean, pattern_of
from elmo.errors import ConfigError
from elmo.utils.cache import cached

log = logging.getLogger(__name__)

BLOCK = 1000  # rows in memory at once


class RawRow(NamedTuple):
    """One row of a source: its number there (from 0), text before cleaning, class from 0."""

    row: int
    text: str
    label: int


class Corpus(ABC):
    """Cleaned descriptions with their labels, split once and for all by `split_seed`.

    `splits` is a `datasets.DatasetDict` of train, validation and test with the columns
    `text: str`, `label: int` (a ClassLabel, which carries the class names) and `row: int`, the
    number of the row in its source. Built once, then memory-mapped from `cache_dir`, keyed by the
    content of the source, the cleaning rules and the split.

    Args:
        split_seed: draws the validation rows; apart from the run's seed, so that the rows that
            select the classifier never stood in the biLM's train split.
        validation_size: rows taken from the train split for validation; below 1 their share.
        min_count: words seen less often in the train split are unknown.
        max_vocabulary: V at most; None for no limit.
        lowercase: whether "Apple" and "apple" are one word.
        pre_tokenizer: what a word is, a name in `elmo.data.text.PATTERNS`.
        cache_dir: where prepared data lies.
    """

    name: str
    redistributable = False  # whether its text may stand in what a run shows
    streaming = False  # whether its splits are of a sample, see `StreamedCorpus`

    def __init__(
        self,
        split_seed: int,
        validation_size: float,
        min_count: int,
        max_vocabulary: int | None,
        cache_dir: str,
        lowercase: bool = True,
        pre_tokenizer: str = "words",
    ) -> None:
        if validation_size <= 0 or (validation_size >= 1 and validation_size % 1):
            raise ConfigError(
                f"data.validation_size is {validation_size}; expected a number of rows, 1 or more, "
                "or a share of them between 0 and 1"
            )
        pattern_of(pre_tokenizer)
        self.split_seed = split_seed
        self.validation_size = validation_size
        self.min_count = min_count
        self.max_vocabulary = max_vocabulary
        self.lowercase = lowercase
        self.pre_tokenizer = pre_tokenizer
        self.cache_dir = Path(cache_dir)

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels; one where the corpus has no classes."""

    def check_classes(self) -> None:
        """
        Raises:
            ConfigError: there are no classes to tell apart.
        """
        if len(self.class_names) < 2:
            raise ConfigError(
                f"data={self.name} has one class, {self.class_names[0]!r}; a classifier needs two "
                "or more: name a column with classes, data=table data.label_column=COLUMN"
            )

    @abstractmethod
    def source_fingerprint(self) -> str:
        """A hash of the content that `read` would give."""

    @abstractmethod
    def read(self, split: str) -> Iterator[RawRow]:
        """The rows of the source's `train` or `test` split."""

    @cached_property
    def fingerprint(self) -> str:
        """Names this corpus and this split of it: source, cleaning rules, validation rows."""
        rules = [
            # A function as replacement has no content to hash; its name stands for it.
            (
                rule.name,
                rule.pattern.pattern,
                rule.pattern.flags,
                getattr(rule.replacement, "__name__", rule.replacement),
            )
            for rule in CLEANING_RULES
        ]
        key = [self.name, self.source_fingerprint(), rules, self.split_seed, self.validation_size]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]

    @property
    def _folder(self) -> Path:
        return self.cache_dir / "corpora" / f"{self.name}-{self.fingerprint}"

    @cached_property
    def splits(self) -> DatasetDict:
        return load_from_disk(str(cached(self._folder, self._build)))

    @cached_property
    def facts(self) -> dict[str, int]:
        """What cleaning and splitting did, in rows."""
        _ = self.splits  # built by now
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
        """Clean, drop what stands in the test split, draw the validation rows, save.

        Rows go from file to file in blocks: what stays in memory of a row is its digest.
        """
        disable_progress_bars()
        facts: dict[str, int] = {}
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            test, in_test = self._cleaned("test", Path(temporary), facts)
            train, in_train = self._cleaned("train", Path(temporary), facts)
            share = self.validation_size < 1
            wanted = self.validation_size * len(train) if share else self.validation_size
            wanted = max(1, round(wanted))
            labels = column(train, "label")
            division = divide(in_train, labels, in_test, wanted, self.split_seed)
            kept, drawn = len(division.train), len(division.validation)
            if not kept or not len(test) or drawn < wanted:
                raise ConfigError(
                    f"data.validation_size is {self.validation_size}, but data={self.name} has "
                    f"{drawn + kept} usable train rows and {len(test)} test rows; "
                    "expected fewer validation than train rows, and at least one test row"
                )
            splits = DatasetDict(
                train=train.select(division.train),
                validation=train.select(division.validation),
                test=test,
            )
            splits.save_to_disk(str(folder))
        facts |= division.facts
        facts |= {f"{split}_rows": len(rows) for split, rows in splits.items()}
        (folder / "facts.json").write_text(json.dumps(facts, indent=2))

    def _cleaned(
        self, split: str, folder: Path, facts: dict[str, int]
    ) -> tuple[Dataset, np.ndarray]:
        """The rows with text left, memory-mapped from a file in `folder`, and their digests."""
        features = Features(
            text=Value("string"), label=ClassLabel(names=list(self.class_names)), row=Value("int64")
        )
        schema = features.arrow_schema
        file = str(folder / f"{split}.arrow")
        source = self.read(split)
        in_source = 0
        found = [digests([])]
        with pa.OSFile(file, "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            while block := list(islice(source, BLOCK)):
                cleaned = [RawRow(row, clean(text), label) for row, text, label in block]
                kept = [row for row in cleaned if row.text]
                in_source += len(block)
                found.append(digests(row.text for row in kept))
                columns = {field: [getattr(row, field) for row in kept] for field in features}
                writer.write_batch(pa.record_batch(columns, schema))
        rows = Dataset.from_file(file)
        facts[f"{split}_rows_in_source"] = in_source
        facts[f"empty_{split}_rows"] = in_source - len(rows)
        return rows, np.concatenate(found)


def texts_of(rows: Dataset) -> Iterator[str]:
    """The texts of a split, read block by block."""
    for block in rows.iter(BLOCK):
        yield from block["text"]


def column(rows: Dataset, name: str) -> np.ndarray:
    """A column of numbers (N,), read without a Python object for each row."""
    return rows.with_format("numpy", columns=[name])[:][name]
