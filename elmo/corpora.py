"""What a corpus is: descriptions cleaned and split into train, validation and test; toy news."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    Value,
    disable_progress_bars,
    load_from_disk,
)

from elmo import toy_news
from elmo.errors import ConfigError
from elmo.runs import publish
from elmo.text import CLEANING_RULES, TOKEN_PATTERN, WordTokenizer, clean

log = logging.getLogger(__name__)


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
        validation_size: rows taken from the train split for validation.
        min_count: words seen less often in the train split are unknown.
        max_vocabulary: V at most; None for no limit.
        cache_dir: where prepared data lies.
    """

    name: str
    class_names = ("World", "Sports", "Business", "Sci/Tech")
    redistributable = False  # whether its text may stand in what a run shows

    def __init__(
        self,
        split_seed: int,
        validation_size: int,
        min_count: int,
        max_vocabulary: int | None,
        cache_dir: str,
    ) -> None:
        if validation_size < 1:
            raise ConfigError(f"data.validation_size is {validation_size}; expected 1 or more")
        self.split_seed = split_seed
        self.validation_size = validation_size
        self.min_count = min_count
        self.max_vocabulary = max_vocabulary
        self.cache_dir = Path(cache_dir)

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
        if not self._folder.exists():
            publish(self._folder, self._build)
        return load_from_disk(str(self._folder))

    @cached_property
    def facts(self) -> dict[str, int]:
        """What cleaning and splitting did, in rows."""
        _ = self.splits  # built by now
        return json.loads((self._folder / "facts.json").read_text())

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """The tokenizer of the train split; a pretrained biLM brings its own instead."""
        rules = [self.fingerprint, TOKEN_PATTERN, self.min_count, self.max_vocabulary]
        key = hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16]
        folder = self.cache_dir / "tokenizers" / f"{self.name}-{key}"
        if not folder.exists():
            texts = (text for batch in self.splits["train"].iter(10_000) for text in batch["text"])
            tokenizer = WordTokenizer.train(texts, self.min_count, self.max_vocabulary)
            publish(folder, lambda path: (path / "tokenizer.json").write_text(tokenizer.json))
        return WordTokenizer((folder / "tokenizer.json").read_text())

    def _build(self, folder: Path) -> None:
        """Clean, drop what stands in the test split, draw the validation rows, save."""
        facts: Counter[str] = Counter()
        test = self._cleaned("test", facts)
        train = self._cleaned("train", facts)
        facts["train_rows_also_in_test"] = 0
        in_test = {text.lower() for _, text, _ in test}
        groups: dict[str, list[RawRow]] = defaultdict(list)
        for row in train:
            if row.text.lower() in in_test:
                facts["train_rows_also_in_test"] += 1
            else:
                groups[row.text.lower()].append(row)
        repeated = [rows for rows in groups.values() if len(rows) > 1]
        facts["repeated_descriptions"] = len(repeated)
        facts["repeated_rows"] = sum(map(len, repeated))
        facts["descriptions_with_conflicting_labels"] = sum(
            len({row.label for row in rows}) > 1 for rows in repeated
        )

        # Whole groups go to one side, so no validation row has its equal in the train split.
        validation: list[RawRow] = []
        kept: list[RawRow] = []
        keys = list(groups)
        for index in np.random.default_rng(self.split_seed).permutation(len(keys)):
            rows = groups[keys[index]]
            fits = len(validation) + len(rows) <= self.validation_size
            (validation if fits else kept).extend(rows)
        if not kept or not test or len(validation) < self.validation_size:
            raise ConfigError(
                f"data.validation_size is {self.validation_size}, but data={self.name} has "
                f"{len(validation) + len(kept)} usable train rows and {len(test)} test rows; "
                "expected fewer validation than train rows, and at least one test row"
            )
        features = Features(
            text=Value("string"), label=ClassLabel(names=list(self.class_names)), row=Value("int64")
        )
        splits = {"train": sorted(kept), "validation": sorted(validation), "test": test}
        disable_progress_bars()
        DatasetDict(
            {
                split: Dataset.from_dict(
                    {field: [getattr(row, field) for row in rows] for field in features}, features
                )
                for split, rows in splits.items()
            }
        ).save_to_disk(str(folder))
        facts.update({f"{split}_rows": len(rows) for split, rows in splits.items()})
        (folder / "facts.json").write_text(json.dumps(facts, indent=2))

    def _cleaned(self, split: str, facts: Counter[str]) -> list[RawRow]:
        rows = [RawRow(row, clean(text), label) for row, text, label in self.read(split)]
        kept = [row for row in rows if row.text]
        facts[f"{split}_rows_in_source"] = len(rows)
        facts[f"empty_{split}_rows"] = len(rows) - len(kept)
        return kept


class ToyNews(Corpus):
    """The built-in corpus: news-like sentences from the grammar of `elmo.toy_news`, offline.

    Args:
        rows: train and validation rows together.
        test_rows: rows of the test split.
        seed: of the grammar; with another seed it is another corpus.
    """

    name = "toy"
    class_names = toy_news.CLASS_NAMES
    redistributable = True

    def __init__(self, rows: int, test_rows: int, seed: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        if min(rows, test_rows) < 1:
            raise ConfigError(
                f"data.rows is {rows}, data.test_rows {test_rows}; expected 1 or more"
            )
        self.rows = rows
        self.test_rows = test_rows
        self.seed = seed

    @cached_property
    def _generated(self) -> tuple[list[str], list[int]]:
        return toy_news.generate(self.rows + self.test_rows, self.seed)

    def source_fingerprint(self) -> str:
        texts, labels = self._generated
        return hashlib.sha256(json.dumps([self.rows, texts, labels]).encode()).hexdigest()

    def read(self, split: str) -> Iterator[RawRow]:
        texts, labels = self._generated
        chosen = slice(self.rows, None) if split == "test" else slice(self.rows)
        for row, (text, label) in enumerate(zip(texts[chosen], labels[chosen], strict=True)):
            yield RawRow(row, text, label)
