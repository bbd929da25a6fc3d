"""Batches for pretraining."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from elmo.data.datamodule import TokenData
from elmo.data.streaming import Stream, StreamLoader
from elmo.data.user_corpus import StreamedCorpus
from elmo.errors import ConfigError, check_range


class LanguageModelData(TokenData):
    """Batches for pretraining.

    The train split is evaluated on a sample, because perplexity needs no more rows.

    Args:
        evaluation_rows: rows of the train split that it is evaluated on, drawn by `seed`.
        train_rows: number of train rows to pretrain on, drawn by `seed`, for searches; None for
            all. The vocabulary is that of all train rows.
        epoch_batches: number of batches in an epoch of a streamed corpus; None for other corpora.
        buffer_documents: documents of a stream that are shuffled and sorted by length at a time.
        arguments: see `TokenData`.

    Raises:
        ConfigError: a number is out of range or does not fit `corpus.streaming`.
    """

    def __init__(
        self,
        evaluation_rows: int,
        train_rows: int | None = None,
        epoch_batches: int | None = None,
        buffer_documents: int = 10_000,
        **arguments: Any,
    ) -> None:
        counts = {
            "datamodule.evaluation_rows": evaluation_rows,
            "datamodule.train_rows": train_rows,
            "datamodule.epoch_batches": epoch_batches,
            "datamodule.buffer_documents": buffer_documents,
        }
        check_range(counts, at_least=1)
        super().__init__(**arguments)
        if self.corpus.streaming != (epoch_batches is not None):
            raise ConfigError(
                f"datamodule.epoch_batches is {epoch_batches}; expected the number of batches in "
                "an epoch with data.streaming=true, which has no end, and null without it"
            )
        if self.corpus.streaming and train_rows is not None:
            raise ConfigError(
                f"datamodule.train_rows is {train_rows}; expected null with data.streaming=true"
            )
        self.evaluation_rows = evaluation_rows
        self.train_rows = train_rows
        self.epoch_batches = epoch_batches
        self.buffer_documents = buffer_documents

    @cached_property
    def pretraining_rows(self) -> np.ndarray:
        """Positions in the train split of the rows to pretrain on, ascending (N',)."""
        count = len(self.splits["train"])
        if self.train_rows is None or self.train_rows >= count:
            return np.arange(count)
        return np.sort(np.random.default_rng(self.seed).permutation(count)[: self.train_rows])

    @property
    def facts(self) -> dict[str, Any]:
        if self.epoch_batches is not None:  # the other facts describe the sample
            return {**super().facts, "streamed_batches_an_epoch": self.epoch_batches}
        return {**super().facts, "pretraining_rows": len(self.pretraining_rows)}

    def train_dataloader(self) -> DataLoader:
        if self.epoch_batches is None:
            return self._subset_loader("train", self.pretraining_rows, self.seed)
        assert isinstance(self.corpus, StreamedCorpus)  # only these can be streaming
        stream = Stream(
            self.corpus,
            self.tokenizer,
            self.token_budget,
            self.max_tokens,
            self.buffer_documents,
            self.seed,
        )
        return StreamLoader(stream, self.epoch_batches, self.num_workers)

    def evaluation_loader(self, split: str) -> DataLoader:
        if split != "train":
            return super().evaluation_loader(split)
        rows = self.pretraining_rows
        if len(rows) > self.evaluation_rows:
            random = np.random.default_rng(self.seed)
            rows = np.sort(random.choice(rows, self.evaluation_rows, replace=False))
        return self._subset_loader(split, rows, seed=None)
