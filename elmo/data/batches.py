"""Batches of documents of similar length under a token budget."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from elmo.data.characters import Spellings, lexicon_for, spellings_of
from elmo.data.text import PAD, TokenizedText, WordTokenizer, clean
from elmo.errors import ConfigError

# The default number of padded tokens in a batch of `text_batches`. Larger batches gain nothing: the
# memory blocks that they need are returned to the system after each batch, see `elmo.utils.memory`,
# which costs up to a fifth of the time.
TOKEN_BUDGET = 4096

Text = str | Sequence[str]  # a document: a text, or its words


class Batch(NamedTuple):
    """B documents, padded to the longest.

    Attributes:
        tokens: ids with `<s>` and `</s>`, 0 is padding (B, T).
        lengths: number of real tokens of each document (B,).
        label: class of each document, from 0 (B,); -1 where it is unknown.
        row: position of each document in the split (B,).
        layers: frozen layers of the encoder, computed before (S, B, T, D); None without a store.
        spellings: the characters of the words; None where the model reads their ids.
    """

    tokens: Tensor
    lengths: Tensor
    label: Tensor
    row: Tensor
    layers: Tensor | None = None
    spellings: Spellings | None = None

    @property
    def mask(self) -> Tensor:
        """True where a token is real (B, T)."""
        return self.tokens != PAD

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        tokens, lengths, label, row = (field.to(device) for field in self[:4])
        layers = None if self.layers is None else self.layers.to(device)
        spellings = None if self.spellings is None else self.spellings.to(device)
        return Batch(tokens, lengths, label, row, layers, spellings)


def pad(documents: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Stack the ids of documents of several lengths into tokens (B, T) and lengths (B,)."""
    lengths = np.array([len(ids) for ids in documents], dtype=np.int64)
    tokens = np.full((len(documents), lengths.max()), PAD, dtype=np.int64)
    tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = np.concatenate(documents)
    return torch.from_numpy(tokens), torch.from_numpy(lengths)


def make_batch(
    documents: list[np.ndarray],
    label: Tensor,
    row: Tensor,
    characters: np.ndarray | None,
    layers: Tensor | None = None,
) -> Batch:
    """Return a batch of documents.

    Args:
        documents: the ids (T,) of each, or ids and spelling numbers (2, T) with `characters`.
        label, row, layers: see `Batch`.
        characters: the character ids by spelling number (U + 1, C); None without spellings.
    """
    if characters is None:
        tokens, lengths = pad(documents)
        spellings = None
    else:
        tokens, lengths = pad([ids for ids, _ in documents])
        spellings = spellings_of(pad([numbers for _, numbers in documents])[0], characters)
    return Batch(tokens, lengths, label, row, layers, spellings)


class EpochOrder(Sampler[int]):
    """Row numbers by length; equal lengths in file order, or reshuffled in each epoch.

    Every epoch has the same sorted lengths, and so the same number of batches and the same amount
    of padding (nearly none), but other documents meet in a batch. Lightning calls `set_epoch`
    because this is the `.sampler` of a batch sampler.

    Args:
        lengths: number of tokens of each row (N,).
        seed: of the shuffling; None keeps the file order.
    """

    def __init__(self, lengths: np.ndarray, seed: int | None) -> None:
        self.lengths = lengths
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration shuffle for this epoch, from 0."""
        self.epoch = epoch

    def generator(self) -> np.random.Generator | None:
        """Return a new random generator for this epoch; None without shuffling."""
        return None if self.seed is None else np.random.default_rng((self.seed, self.epoch))

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = self.generator()
        order = np.arange(len(self)) if generator is None else generator.permutation(len(self))
        yield from order[np.argsort(self.lengths[order], kind="stable")].tolist()


class TokenBudgetBatches(Sampler[list[int]]):
    """Batches of rows of similar length, with a padded size B x T within `token_budget`.

    A document longer than the budget is alone in its batch. The batches come in random order if
    `order` is shuffled.

    With several ranks, each rank gets every `ranks`-th row of each batch, and at least one row. So
    its rows have similar lengths as well, all ranks take the same number of steps, and no row comes
    twice.

    Args:
        order: the rows, sorted by length.
        token_budget: padded tokens of a batch, of all ranks together.
        rank: the rank to give rows to.
        ranks: number of ranks.

    Raises:
        ConfigError: there are fewer rows than ranks.
    """

    def __init__(self, order: EpochOrder, token_budget: int, rank: int = 0, ranks: int = 1) -> None:
        if len(order) < ranks:
            raise ConfigError(
                f"{len(order)} rows for {ranks} processes; expected at least one row for each"
            )
        self.sampler = order
        self.rank = rank
        self.ranks = ranks
        self.start = 0  # the batch that the next iteration begins with
        self.cuts = self._cut(np.sort(order.lengths), token_budget, ranks)

    @staticmethod
    def _cut(lengths: np.ndarray, token_budget: int, min_rows: int) -> list[int]:
        """Return where batches begin and end among the sorted lengths; the last row is longest."""
        cuts = [0]
        for index, length in enumerate(lengths.tolist()):
            rows = index - cuts[-1]
            if rows >= min_rows and (rows + 1) * length > token_budget:
                cuts.append(index)
        if len(cuts) > 1 and len(lengths) - cuts[-1] < min_rows:
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


def text_batches(
    texts: Sequence[Text], tokenizer: WordTokenizer, token_budget: int | None
) -> Iterator[tuple[list[TokenizedText], Batch]]:
    """Clean and tokenize texts, and yield them in batches by length.

    Args:
        texts: the documents, in any order: texts, or lists of words, which are not changed.
        tokenizer: the tokenizer that makes ids of the words.
        token_budget: padded tokens in a batch, at most; None puts all in one batch, in their order.

    Yields:
        The documents of a batch, and the batch: `row` is the position in `texts`, `label` is -1.

    Raises:
        ConfigError: `texts` is a string, or contains something else.
        DataError: a text contains half a surrogate pair.
    """
    documents = _tokenize(texts, tokenizer)
    if not documents:
        return
    lexicon = lexicon_for(tokenizer)
    ids = [
        document.ids if lexicon is None else np.stack([document.ids, lexicon.spell(document.words)])
        for document in documents
    ]
    characters = None if lexicon is None else lexicon.characters()
    batches: Iterable[list[int]] = [list(range(len(ids)))]
    if token_budget is not None:
        order = EpochOrder(np.array([document.shape[-1] for document in ids]), seed=None)
        batches = TokenBudgetBatches(order, token_budget)
    for rows in batches:
        position = torch.tensor(rows)
        label = torch.full_like(position, -1)
        yield (
            [documents[row] for row in rows],
            make_batch([ids[row] for row in rows], label, position, characters),
        )


def _tokenize(texts: Sequence[Text], tokenizer: WordTokenizer) -> list[TokenizedText]:
    """Return the words and ids of texts and of lists of words; see `text_batches`."""
    if isinstance(texts, str):
        raise ConfigError("texts is a string; expected a list of strings, such as [text]")
    for position, text in enumerate(texts):
        words = [] if isinstance(text, str) else text
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            kind = type(text).__name__
            raise ConfigError(
                f"texts[{position}] is of type {kind}; expected a string, or a list of words"
            )
    untokenized = [text for text in texts if isinstance(text, str)]
    found = iter(tokenizer.encode([clean(text) for text in untokenized]))
    return [
        next(found) if isinstance(text, str) else tokenizer.encode_tokens([text])[0]
        for text in texts
    ]


class ResumableLoader(DataLoader[Batch]):
    """A loader that counts the batches of the epoch, so that a resumed run continues with the next.

    Lightning stores the state of a loader that has these two methods (`_Stateful`).

    Args:
        rows: a data set that makes whole batches.
        batches: the rows of each batch.
        num_workers: processes that load; they leave interrupts to the training process.
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
            # So that loading draws no random numbers from the generator of the training.
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
        """Return how many batches of the epoch were given."""
        return {"batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next epoch begin after the batches that were given."""
        self._start = state["batches"] % len(self)  # after a whole epoch, the next one is whole


def unchanged(batch: Any) -> Any:
    """Return the batch: the data set makes whole batches, and workers cannot pickle a lambda."""
    return batch


def ignore_interrupts(worker: int) -> None:
    """Ignore SIGINT and SIGTERM in a worker.

    Terminals and schedulers send them to every process; the training process ends its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
