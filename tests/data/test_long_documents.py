"""Long documents: they do not fill the memory, and truncation is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from elmo.data.batches import EpochOrder, TokenBudgetBatches
from elmo.data.classification_data import ClassificationData
from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import RawRow
from elmo.data.text import BOS, EOS, WordTokenizer
from elmo.data.tokens import TokenizedSplit
from elmo.errors import ConfigError
from elmo.models.encoders import ElmoEncoder
from elmo.modules.bilm import BiLM


def test_a_document_longer_than_the_budget_is_a_batch_of_its_own(tmp_path: Path) -> None:
    tokenizer = WordTokenizer.train(["a b"], min_count=1, max_size=None)
    texts = ["a", "b a b", "a b " * 2500, "b"]
    TokenizedSplit.build(tmp_path, iter(texts), np.arange(4), tokenizer, max_tokens=10_000)
    split = TokenizedSplit(tmp_path)
    batches = [
        split.__getitems__(rows) for rows in TokenBudgetBatches(EpochOrder(split.lengths, 0), 64)
    ]
    (long,) = [batch for batch in batches if 2 in batch.row]
    assert long.tokens.shape == (1, 5002)
    assert long.label.tolist() == [2]
    assert long.mask.all()
    assert sum(len(batch.row) for batch in batches) == 4


class TwoLong(ToyNews):
    """Short stories, and two with 100,000 words."""

    def source_fingerprint(self) -> str:
        return "two long"

    def read(self, split: str) -> Iterator[RawRow]:
        for row in range(40):
            times = 100_000 if split == "train" and row < 2 else 5
            yield RawRow(row, f"{split}{row} " + "word " * times, row % 4)


@pytest.fixture
def corpus(tmp_path: Path) -> TwoLong:
    """A corpus with two long documents."""
    return TwoLong(
        rows=40,
        test_rows=10,
        seed=0,
        split_seed=0,
        validation_size=4,
        min_count=1,
        max_vocabulary=None,
        cache_dir=str(tmp_path),
    )


def test_a_long_document_is_truncated_and_counted(
    corpus: TwoLong, caplog: pytest.LogCaptureFixture
) -> None:
    data = ClassificationData(corpus=corpus, token_budget=64, num_workers=0, seed=0, max_tokens=50)
    counts = data.facts["cut_documents"]
    assert sum(counts.values()) == 2
    for split, count in counts.items():
        documents = [data.splits[split].ids(row) for row in range(len(data.splits[split]))]
        assert sum(len(ids) == 50 for ids in documents) == count
        assert all(ids[0] == BOS and ids[-1] == EOS for ids in documents)
        assert (f"{split}: {count} documents are longer than" in caplog.text) == (count > 0)
    whole = ClassificationData(
        corpus=corpus, token_budget=200_000, num_workers=0, seed=0, max_tokens=200_000
    )
    assert set(whole.facts["cut_documents"].values()) == {0}
    assert max(split.lengths.max() for split in whole.splits.values()) == 100_003


def test_a_budget_smaller_than_a_document_is_refused(corpus: TwoLong) -> None:
    data = ClassificationData(corpus=corpus, token_budget=49, num_workers=0, seed=0, max_tokens=50)
    with pytest.raises(ConfigError, match=r"token_budget is 49, but document \d+ of .* has 50 tok"):
        _ = data.splits


def test_embedding_does_not_truncate(toy: ToyNews, caplog: pytest.LogCaptureFixture) -> None:
    encoder = ElmoEncoder(toy.tokenizer, BiLM(len(toy.tokenizer), embedding_dim=4, hidden_dim=4))
    with caplog.at_level(logging.WARNING):
        (embedding,) = encoder.embed(["the bank " * 50_000])
    assert embedding.vectors.shape == (3, 100_000, 8)
    assert len(embedding.tokens) == 100_000
    assert not caplog.records
