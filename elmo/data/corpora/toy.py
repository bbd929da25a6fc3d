"""The built-in corpus, generated from a grammar."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from elmo.data.corpora import toy_grammar
from elmo.data.corpus import Corpus, RawRow
from elmo.errors import check_range


class ToyNews(Corpus):
    """The built-in corpus: news-like sentences of `toy_grammar`, which needs no network.

    Args:
        rows: train and validation rows together.
        test_rows: rows of the test split.
        seed: of the grammar; another seed gives another corpus.
    """

    name = "toy"
    class_names = toy_grammar.CLASS_NAMES
    redistributable = True

    def __init__(self, rows: int, test_rows: int, seed: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        check_range({"data.rows": rows, "data.test_rows": test_rows}, at_least=1)
        self.rows = rows
        self.test_rows = test_rows
        self.seed = seed

    @cached_property
    def _generated(self) -> tuple[list[str], list[int]]:
        return toy_grammar.generate(self.rows + self.test_rows, self.seed)

    def source_fingerprint(self) -> str:
        texts, labels = self._generated
        return hashlib.sha256(json.dumps([self.rows, texts, labels]).encode()).hexdigest()

    def read(self, split: str) -> Iterator[RawRow]:
        texts, labels = self._generated
        chosen = slice(self.rows, None) if split == "test" else slice(self.rows)
        for row, (text, label) in enumerate(zip(texts[chosen], labels[chosen], strict=True)):
            yield RawRow(row, text, label)
