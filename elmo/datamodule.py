"""From a corpus to batches: token ids memory-mapped, length-bucketed under a token budget."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from elmo.corpora import Corpus
from elmo.errors import ConfigError
from elmo.runs import publish
from elmo.text import PAD, UNK, WordTokenizer

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """B documents, padded to the longest."""

    tokens: Tensor  # (B, T) ids with <s> and </s>, 0 is padding
    lengths: Tensor  # (B,) real tokens of each
    label: Tensor  # (B,) class from 0
    row: Tensor  # (B,) position in the split

    @property
    def mask(self) -> Tensor:  # (B, T), True where a token is real
        return self.tokens != PAD


def pad(documents: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Stack ids of several lengths into tokens (B, T) and lengths (B,)."""
    lengths = np.array([len(ids) for ids in documents], dtype=np.int64)
    tokens = np.full((len(documents), lengths.max()), PAD, dtype=np.int64)
    tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = np.concatenate(documents)
    return torch.from_numpy(tokens), torch.from_numpy(lengths)


class TokenizedSplit(Dataset[Batch]):
    """The token ids of one split, memory-mapped from a folder that `build` filled.

    `tokens.npy` holds all documents one after another, `offsets.npy` (N + 1) where each begins.
    """

    def __init__(self, folder: Path) -> None:
        self.tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self.offsets = np.load(folder / "offsets.npy")
        self.labels = torch.from_numpy(np.load(folder / "labels.npy"))
        self.lengths = np.diff(self.offsets)

    @staticmethod
    def build(
        folder: Path, texts: Iterator[str], labels: np.ndarray, tokenizer: WordTokenizer
    ) -> None:
        documents = list(tokenizer.encode_ids(texts))
        np.save(folder / "tokens.npy", np.concatenate(documents))
        np.save(folder / "offsets.npy", np.cumsum([0, *map(len, documents)], dtype=np.int64))
        np.save(folder / "labels.npy", labels.astype(np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, row: int) -> np.ndarray:
        """The ids (T,) of one document, with `<s>` and `</s>`."""
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    def __getitems__(self, rows: list[int]) -> Batch:
        tokens, lengths = pad([self.ids(row) for row in rows])
        index = torch.tensor(rows)
        return Batch(tokens, lengths, self.labels[index], index)

    @property
    def unknown_rate(self) -> float:
        """The share of `<unk>` among the words, `<s>` and `</s>` not counted."""
        return float((self.tokens == UNK).sum() / max(1, len(self.tokens) - 2 * len(self)))


class EpochOrder(Sampler[int]):
    """Row numbers by length; within a length in the order of the file, or shuffled anew each epoch.

    The sorted lengths are the same in every epoch, and so are the number of batches cut from them
    and the padding inside (nearly none); which documents meet is not. Lightning calls `set_epoch`
    because this is the `.sampler` of a batch sampler.
    """

    def __init__(self, lengths: np.ndarray, seed: int | None) -> None:
        self.lengths = lengths
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def random(self) -> np.random.Generator | None:
        return None if self.seed is None else np.random.default_rng((self.seed, self.epoch))

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = np.arange(len(self)) if self.random is None else self.random.permutation(len(self))
        yield from order[np.argsort(self.lengths[order], kind="stable")].tolist()


class TokenBudgetBatches(Sampler[list[int]]):
    """Batches of documents of like length whose padded size B x T stays within `token_budget`.

    A document longer than the budget is a batch of its own. Shuffled where the order is.
    """

    def __init__(self, order: EpochOrder, token_budget: int) -> None:
        self.sampler = order
        self.cuts = self._cut(np.sort(order.lengths), token_budget)

    @staticmethod
    def _cut(lengths: np.ndarray, token_budget: int) -> list[int]:
        """Where batches begin and end among the sorted lengths; the last in one is its longest."""
        cuts = [0]
        for index, length in enumerate(lengths.tolist()):
            if index > cuts[-1] and (index + 1 - cuts[-1]) * length > token_budget:
                cuts.append(index)
        return [*cuts, len(lengths)]

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self.sampler)
        batches = np.arange(len(self))
        if (random := self.sampler.random) is not None:
            random.shuffle(batches)
        for batch in batches:
            yield rows[self.cuts[batch] : self.cuts[batch + 1]]


class TokenData(lightning.LightningDataModule):
    """Batches of a corpus under a tokenizer, the same for both tasks.

    Tokenised once into `cache_dir`, keyed by the content of the corpus and of the tokenizer.

    Args:
        token_budget: padded tokens in a batch, at most.
        num_workers: processes that load batches; 0 loads in the main process.
        seed: of the shuffling.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: WordTokenizer,
        token_budget: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        if token_budget < 1:
            raise ConfigError(f"datamodule.token_budget is {token_budget}; expected 1 or more")
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.token_budget = token_budget
        self.num_workers = num_workers
        self.seed = seed
        self.splits = {split: self._tokenized(split) for split in ("train", "validation", "test")}
        facts = self.facts()
        log.info("%s: %s", corpus.name, ", ".join(f"{k} {v:,}" for k, v in corpus.facts.items()))
        log.info(
            "V = %s words; unknown: %s",
            f"{facts['vocabulary_size']:,}",
            ", ".join(f"{split} {rate:.2%}" for split, rate in facts["unknown_rate"].items()),
        )

    def _tokenized(self, split: str) -> TokenizedSplit:
        key = hashlib.sha256(f"{self.corpus.fingerprint} {self.tokenizer.json}".encode())
        folder = (
            self.corpus.cache_dir / "tokens" / f"{self.corpus.name}-{key.hexdigest()[:16]}-{split}"
        )
        if not folder.exists():
            rows = self.corpus.splits[split]
            texts = (text for batch in rows.iter(10_000) for text in batch["text"])
            labels = np.array(rows["label"])
            publish(folder, lambda path: TokenizedSplit.build(path, texts, labels, self.tokenizer))
        return TokenizedSplit(folder)

    def facts(self) -> dict:
        """What every result should name: rows, V, unknown rates, the fingerprint of the data."""
        return {
            "name": self.corpus.name,
            "fingerprint": self.corpus.fingerprint,
            "tokenizer": self.tokenizer.fingerprint,
            "vocabulary_size": len(self.tokenizer),
            "unknown_rate": {split: data.unknown_rate for split, data in self.splits.items()},
            "tokens": {split: len(data.tokens) for split, data in self.splits.items()},
            **self.corpus.facts,
        }

    def loader(self, rows: Dataset[Batch], lengths: np.ndarray, seed: int | None) -> DataLoader:
        return DataLoader(
            rows,
            batch_sampler=TokenBudgetBatches(EpochOrder(lengths, seed), self.token_budget),
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def train_dataloader(self) -> DataLoader:
        return self.loader(self.splits["train"], self.splits["train"].lengths, self.seed)

    def val_dataloader(self) -> DataLoader:
        return self.evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader:
        return self.evaluation_loader("test")

    def evaluation_loader(self, split: str) -> DataLoader:
        """The whole split, in the order of its lengths."""
        return self.loader(self.splits[split], self.splits[split].lengths, seed=None)


class LanguageModelData(TokenData):
    """Pretraining: evaluates the train split on a sample, because perplexity needs no more rows.

    Args:
        evaluation_rows: train rows in the sample.
    """

    def __init__(self, evaluation_rows: int, **arguments: Any) -> None:
        if evaluation_rows < 1:
            raise ConfigError(
                f"datamodule.evaluation_rows is {evaluation_rows}; expected 1 or more"
            )
        super().__init__(**arguments)
        self.evaluation_rows = evaluation_rows

    def evaluation_loader(self, split: str) -> DataLoader:
        data = self.splits[split]
        if split != "train" or len(data) <= self.evaluation_rows:
            return super().evaluation_loader(split)
        random = np.random.default_rng(self.seed)
        sample = np.sort(random.choice(len(data), self.evaluation_rows, replace=False))
        return self.loader(Selected(data, sample), data.lengths[sample], seed=None)


class ClassificationData(TokenData):
    """Classification: every split is evaluated whole, because predictions of each row are kept."""


class Selected(Dataset[Batch]):
    """Some rows of a split; batches name the rows by their number in the split."""

    def __init__(self, data: TokenizedSplit, rows: np.ndarray) -> None:
        self.data = data
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.data.__getitems__(self.rows[indices].tolist())


def _as_it_is(batch: Any) -> Any:
    """The data set makes whole batches; a function by name, because workers have to pickle it."""
    return batch
