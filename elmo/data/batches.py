"""Batches of documents of like length under a token budget."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from elmo.data.text import PAD, TokenizedText, WordTokenizer, clean
from elmo.errors import ConfigError


class Batch(NamedTuple):
    """B documents, padded to the longest."""

    tokens: Tensor  # (B, T) ids with <s> and </s>, 0 is padding
    lengths: Tensor  # (B,) real tokens of each
    label: Tensor  # (B,) class from 0
    row: Tensor  # (B,) position in the split
    layers: Tensor | None = None  # (S, B, T, D) frozen layers of the encoder, computed before

    @property
    def mask(self) -> Tensor:  # (B, T), True where a token is real
        return self.tokens != PAD

    def to(self, device: torch.device) -> Batch:
        tokens, lengths, label, row = (field.to(device) for field in self[:4])
        layers = None if self.layers is None else self.layers.to(device)
        return Batch(tokens, lengths, label, row, layers)


def pad(documents: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Stack ids of several lengths into tokens (B, T) and lengths (B,)."""
    lengths = np.array([len(ids) for ids in documents], dtype=np.int64)
    tokens = np.full((len(documents), lengths.max()), PAD, dtype=np.int64)
    tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = np.concatenate(documents)
    return torch.from_numpy(tokens), torch.from_numpy(lengths)


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

    def generator(self) -> np.random.Generator | None:
        """A new generator of this epoch's random numbers; None where nothing is shuffled."""
        return None if self.seed is None else np.random.default_rng((self.seed, self.epoch))

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = self.generator()
        order = np.arange(len(self)) if generator is None else generator.permutation(len(self))
        yield from order[np.argsort(self.lengths[order], kind="stable")].tolist()


class TokenBudgetBatches(Sampler[list[int]]):
    """Batches of documents of like length whose padded size B x T stays within `token_budget`.

    A document longer than the budget is a batch of its own. Shuffled where the order is.

    Where several processes train together, each gets its rows of every batch, of like length, too,
    and at least one: all take the same number of steps, and no row is given twice.

    Args:
        order: of the rows.
        token_budget: of the whole batch.
        rank, ranks: which part of the rows of each batch to give, of how many.

    Raises:
        ConfigError: there are fewer rows than ranks.
    """

    def __init__(self, order: EpochOrder, token_budget: int, rank: int = 0, ranks: int = 1) -> None:
        if len(order) < ranks:
            raise ConfigError(f"{len(order)} rows for {ranks} processes; expected one for each")
        self.sampler = order
        self.rank = rank
        self.ranks = ranks
        self.start = 0  # the batch that the next iteration begins with
        self.cuts = self._cut(np.sort(order.lengths), token_budget, ranks)

    @staticmethod
    def _cut(lengths: np.ndarray, token_budget: int, least: int) -> list[int]:
        """Where batches begin and end among the sorted lengths; the last in one is its longest."""
        cuts = [0]
        for index, length in enumerate(lengths.tolist()):
            rows = index - cuts[-1]
            if rows >= least and (rows + 1) * length > token_budget:
                cuts.append(index)
        if len(cuts) > 1 and len(lengths) - cuts[-1] < least:
            cuts.pop()
        return [*cuts, len(lengths)]

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self.sampler)
        batches = np.arange(len(self))
        if (generator := self.sampler.generator()) is not None:
            generator.shuffle(batches)
        start, self.start = self.start, 0
        for batch in batches[start:]:
            yield rows[self.cuts[batch] + self.rank : self.cuts[batch + 1] : self.ranks]


class ResumableLoader(DataLoader[Batch]):
    """Knows how many batches of the epoch it gave, so that a checkpoint goes on with the next.

    Lightning keeps the state of a loader that has these two methods (`_Stateful`).

    Args:
        rows: a data set that makes whole batches.
        batches: which rows each holds.
        num_workers: processes that load; they leave an interrupt to the process that trains.
    """

    batch_sampler: TokenBudgetBatches

    def __init__(self, rows: Dataset[Batch], batches: TokenBudgetBatches, num_workers: int) -> None:
        super().__init__(
            rows,
            batch_sampler=batches,
            collate_fn=unchanged,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=ignore_interrupts,
            # Of its own, so that loading draws nothing from the random numbers of the training.
            generator=torch.Generator(),
        )
        self._given = 0
        self._start = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._given, self._start = self._start, 0
        self.batch_sampler.start = self._given
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._start = state["batches"] % len(self)  # of a whole epoch nothing is left to skip


def unchanged(batch: Any) -> Any:
    """The data set makes whole batches; a function by name, because workers have to pickle it."""
    return batch


def ignore_interrupts(worker: int) -> None:
    """A terminal and a scheduler send them to all processes; the training ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


# Padded tokens embedded at a time. Larger batches gain nothing: the blocks of memory that they
# need go back to the system after each, see `elmo.utils.memory`, and cost up to a fifth of the time.
TOKEN_BUDGET = 4096


def text_batches(
    texts: Sequence[str], tokenizer: WordTokenizer, token_budget: int
) -> Iterator[tuple[list[TokenizedText], Batch]]:
    """Clean, tokenise and batch texts by length; `row` is the position of each in `texts`."""
    if isinstance(texts, str):
        raise ConfigError("texts is one string; expected a list of them, such as [text]")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ConfigError(f"texts[{position}] is of type {kind}; expected a string")
    documents = tokenizer.encode([clean(text) for text in texts])
    chosen: list[int] = []
    for row in sorted(range(len(documents)), key=lambda row: len(documents[row].ids)):
        if chosen and (len(chosen) + 1) * len(documents[row].ids) > token_budget:
            yield _batch(documents, chosen)
            chosen = []
        chosen.append(row)
    if chosen:
        yield _batch(documents, chosen)


def _batch(documents: list[TokenizedText], rows: list[int]) -> tuple[list[TokenizedText], Batch]:
    chosen = [documents[row] for row in rows]
    tokens, lengths = pad([document.ids for document in chosen])
    return chosen, Batch(tokens, lengths, torch.full_like(lengths, -1), torch.tensor(rows))
