"""The data module of both tasks: a corpus is tokenized once and loaded in batches."""

from __future__ import annotations

import hashlib
import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from torch.utils.data import DataLoader, Dataset

from elmo.data.batches import Batch, EpochOrder, ResumableLoader, TokenBudgetBatches
from elmo.data.corpus import Corpus, column, in_words, texts_of
from elmo.data.text import SPECIAL_TOKENS, WordTokenizer
from elmo.data.tokens import RowSubset, TokenizedSplit
from elmo.errors import ConfigError, check_range
from elmo.utils.cache import cached
from elmo.utils.ranks import rank_and_ranks

log = logging.getLogger(__name__)


class TokenData(lightning.LightningDataModule):
    """Batches of a corpus, the same for both tasks.

    When the first batch or fact is needed, the corpus is tokenized into `cache_dir`, under a key of
    the content of the corpus, `max_tokens` and the tokenizer.

    Args:
        corpus: the corpus to read.
        token_budget: padded tokens in a batch, at most.
        num_workers: processes that load batches; 0 loads in the main process.
        seed: of the shuffling.
        max_tokens: maximum length of a document, `<s>` and `</s>` included; longer ones are
            truncated, because they would make batches of any size.
        tokenizer: the tokenizer; None takes that of the corpus.
        max_characters: character ids of a word for the tokenizer of the corpus, where the model
            reads characters; None where it reads word ids.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        corpus: Corpus,
        token_budget: int,
        num_workers: int,
        seed: int,
        max_tokens: int = 1000,
        tokenizer: WordTokenizer | None = None,
        max_characters: int | None = None,
    ) -> None:
        super().__init__()
        check_range({"datamodule.token_budget": token_budget}, at_least=1)
        check_range({"datamodule.max_tokens": max_tokens}, at_least=3)
        check_range({"datamodule.num_workers": num_workers}, at_least=0)
        self.corpus = corpus
        self.token_budget = token_budget
        self.max_tokens = max_tokens
        self.num_workers = num_workers
        self.seed = seed
        self._tokenizer = tokenizer
        self._max_characters = max_characters

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """The tokenizer that makes ids of the words."""
        if self._tokenizer is None:
            return WordTokenizer(self.corpus.tokenizer.json, self._max_characters)
        return self._tokenizer

    def prepare_data(self) -> None:
        """Read and tokenize all splits, so that errors in the data show before the training."""
        _ = self.splits

    @cached_property
    def splits(self) -> dict[str, TokenizedSplit]:
        """The tokenized train, validation and test split.

        Raises:
            ConfigError: a document does not fit into a batch.
        """
        splits = {split: self._tokenized(split) for split in ("train", "validation", "test")}
        log.info("%s: %s", self.corpus.name, in_words(self.corpus.facts))
        if self._without_vocabulary:
            log.info("no vocabulary: words are read by their characters")
        else:
            log.info(
                "V = %s words; unknown: %s",
                f"{len(self.tokenizer):,}",
                ", ".join(f"{split} {data.unknown_rate:.2%}" for split, data in splits.items()),
            )
        for split, data in splits.items():
            if data.cut_documents:
                log.warning(
                    "%s: %s documents are longer than datamodule.max_tokens=%d and truncated to "
                    "%d words",
                    split,
                    f"{data.cut_documents:,}",
                    self.max_tokens,
                    self.max_tokens - 2,
                )
            if (longest := int(data.lengths.max())) > self.token_budget:
                raise ConfigError(
                    f"datamodule.token_budget is {self.token_budget}, but document "
                    f"{data.lengths.argmax()} of {split} has {longest} tokens; expected at least "
                    "as many, or a smaller datamodule.max_tokens, which truncates long documents"
                )
        return splits

    @property
    def _without_vocabulary(self) -> bool:
        """Whether the tokenizer is that of a published model, to which no word is unknown."""
        return len(self.tokenizer) == len(SPECIAL_TOKENS)

    def _tokenized(self, split: str) -> TokenizedSplit:
        content = f"{self.corpus.fingerprint} {self.max_tokens} {self.tokenizer.json}"
        if self.tokenizer.max_characters:
            content += f" {self.tokenizer.max_characters}"
        key = hashlib.sha256(content.encode()).hexdigest()[:16]
        folder = self.corpus.cache_dir / "tokens" / f"{self.corpus.name}-{key}-{split}"

        def build(path: Path) -> None:
            rows = self.corpus.splits[split]
            texts, labels = texts_of(rows), column(rows, "label")
            TokenizedSplit.build(path, texts, labels, self.tokenizer, self.max_tokens)

        return TokenizedSplit(cached(folder, build))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The facts to record with every result: fingerprints, rows, V, unknown rates, tokens."""
        return {
            **self._identity,
            **self.corpus.identity,
            "vocabulary_size": len(self.tokenizer),
            "unknown_rate": {
                split: 0.0 if self._without_vocabulary else data.unknown_rate
                for split, data in self.splits.items()
            },
            "tokens": {split: len(data.tokens) for split, data in self.splits.items()},
            "cut_documents": {split: data.cut_documents for split, data in self.splits.items()},
            **self.corpus.facts,
        }

    @property
    def _identity(self) -> dict[str, str]:
        return {
            "fingerprint": self.corpus.fingerprint,
            "tokenizer": self.tokenizer.fingerprint,
        }

    def state_dict(self) -> dict[str, str]:
        """Return the fingerprints of the corpus and the tokenizer."""
        return self._identity

    def load_state_dict(self, state_dict: dict[str, str]) -> None:
        """Check that a checkpoint is from the same data.

        Raises:
            ConfigError: it is from other data.
        """
        if state_dict != self._identity:
            raise ConfigError(
                f"the run was started on data={self.corpus.name} {state_dict}, which is now "
                f"{self._identity}: the content of the corpus has changed; restore the old one, or "
                "start a new run"
            )

    def loader(self, rows: Dataset[Batch], lengths: np.ndarray, seed: int | None) -> DataLoader:
        """Return a loader of rows of the given lengths (N,); without a seed they are not shuffled.

        Raises:
            ConfigError: there are fewer rows than ranks.
        """
        order = EpochOrder(lengths, seed)
        batches = TokenBudgetBatches(order, self.token_budget, *rank_and_ranks())
        return ResumableLoader(rows, batches, self.num_workers)

    def documents(self) -> dict[str, TokenizedSplit]:
        """Return all documents of the batches, under names that tell them apart in a corpus."""
        return self.splits

    def train_dataloader(self) -> DataLoader:
        return self.loader(self.splits["train"], self.splits["train"].lengths, self.seed)

    def val_dataloader(self) -> DataLoader:
        return self.evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader:
        return self.evaluation_loader("test")

    def evaluation_loader(self, split: str) -> DataLoader:
        """Return a loader of a whole split, in the order of the lengths."""
        return self.loader(self.splits[split], self.splits[split].lengths, seed=None)

    def _subset_loader(self, split: str, rows: np.ndarray, seed: int | None) -> DataLoader:
        data = self.splits[split]
        return self.loader(RowSubset(data, rows), data.lengths[rows], seed)
