"""Pretraining on more text than memory or disk hold: batches from a stream of documents."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from elmo.data.batches import (
    Batch,
    EpochOrder,
    TokenBudgetBatches,
    ignore_interrupts,
    pad,
    unchanged,
)
from elmo.data.splitting import digests
from elmo.data.text import WordTokenizer, clean
from elmo.data.tokens import shortened
from elmo.errors import ConfigError
from elmo.utils.ranks import gather_from_ranks, rank_and_ranks

if TYPE_CHECKING:
    from elmo.data.user_corpus import StreamedCorpus

Position = dict[str, Any]  # plain data, because a checkpoint keeps it
Item = tuple[Batch, int, Position]  # a batch, whose part it is, where that part goes on

START: Position = {"round": 0, "stream": None, "buffer": 0, "given": 0}


class Stream(IterableDataset[Item]):
    """Batches of documents of like length, without end: after the last document comes the first.

    A buffer of documents is read, shuffled, sorted by length and cut into batches, which come in
    random order; then the next. Where a buffer began in the stream, its number and how many of its
    batches were given are a position to go on from: the buffer is read again, and no document is
    skipped or given twice. Ranks and workers each read a part of their own of every round.

    Args:
        corpus: whose `stream` is read; what stands in its validation and test split is left out.
        tokenizer: makes ids of the words.
        token_budget: padded tokens in a batch, at most.
        max_tokens: a longer document keeps its start.
        buffer_documents: read at a time, by each rank and worker.
        seed: of the shuffling.
    """

    def __init__(
        self,
        corpus: StreamedCorpus,
        tokenizer: WordTokenizer,
        token_budget: int,
        max_tokens: int,
        buffer_documents: int,
        seed: int,
    ) -> None:
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.token_budget = token_budget
        self.max_tokens = max_tokens
        self.buffer_documents = buffer_documents
        self.seed = seed
        held_out = (corpus.splits[split]["text"] for split in ("validation", "test"))
        self.held_out = {digest.tobytes() for texts in held_out for digest in digests(texts)}
        self.positions: dict[int, Position] = {}  # of each part of this rank
        self.first = 0  # the part whose turn is next

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        # A loader asks its workers in turn, from the first on, whenever it begins.
        parts = [(self.first + number) % workers for number in range(workers)]
        part = parts[worker]
        rank, ranks = rank_and_ranks()
        position = self.positions.get(part, START)
        documents = Documents(
            self.corpus, [rank * workers + one for one in parts], ranks * workers, position
        )
        given = position["given"]
        for number in count(position["buffer"]):
            start = documents.position()
            buffer = self._buffer(documents)
            lengths = np.array([len(ids) for ids in buffer])
            order = EpochOrder(lengths, self.seed)
            order.set_epoch(number * ranks * workers + rank * workers + part)
            batches = list(TokenBudgetBatches(order, self.token_budget))
            for index in range(given, len(batches)):
                tokens, found = pad([buffer[row] for row in batches[index]])
                nothing = torch.zeros(len(found), dtype=torch.long)
                whole = index + 1 == len(batches)
                after = {**start, "buffer": number, "given": index + 1}
                if whole:
                    after = {**documents.position(), "buffer": number + 1, "given": 0}
                yield Batch(tokens, found, nothing, nothing), part, after
            given = 0

    def _buffer(self, documents: Documents) -> list[np.ndarray]:
        """The ids (T,) of the next documents.

        Raises:
            ConfigError: a part of the stream has none.
        """
        texts = islice(self._kept(documents), self.buffer_documents)
        buffer = list(shortened(self.tokenizer.encode_ids(texts), self.max_tokens))
        if not buffer:
            raise ConfigError(
                f"data={self.corpus.name}: a part of the stream has no documents; expected more "
                "documents than ranks and datamodule.num_workers"
            )
        return buffer

    def _kept(self, documents: Documents) -> Iterator[str]:
        """Cleaned texts that are not held out, round after round."""
        empty = 0  # the first may be the end of a round
        while empty < 2:
            empty += 1
            for text in documents:
                cleaned = clean(text)
                if cleaned and digests([cleaned])[0].tobytes() not in self.held_out:
                    empty = 0
                    yield cleaned


class Documents:
    """The texts of one part of a corpus's stream; iterated again, it begins the next round.

    Args:
        corpus: whose `stream` is read.
        parts: those of this rank, in the order of its workers: `datasets` gives each its own.
        of: how many parts there are in all.
        position: where to begin.
    """

    def __init__(
        self, corpus: StreamedCorpus, parts: list[int], of: int, position: Position
    ) -> None:
        self.corpus = corpus
        self.parts = parts
        self.of = of
        self.round = position["round"]
        self._source = corpus.stream(parts, of)
        self._start: dict[str, Any] | None = position["stream"]
        if self._start is not None:
            self._source.load_state_dict(self._start)
        self._iterator: Iterator[dict[str, Any]] | None = None

    def position(self) -> Position:
        # A source has no state before its first document, not even the one that it was given.
        stream = self._start if self._iterator is None else self._source.state_dict()
        return {"round": self.round, "stream": stream}

    def __iter__(self) -> Iterator[str]:
        if self._iterator is None:
            self._iterator = iter(self._source)
        for row in self._iterator:
            yield row["text"]
        self.round += 1
        self._source = self.corpus.stream(self.parts, self.of)
        self._start, self._iterator = None, None


class StreamLoader(DataLoader[Item]):
    """`epoch_batches` batches of a stream an epoch; each epoch goes on where the last one ended.

    Knows where it is, as `ResumableLoader` does.

    Args:
        stream: what is read.
        epoch_batches: how many batches are called an epoch.
        num_workers: processes that read, tokenise and shuffle.
    """

    dataset: Stream

    def __init__(self, stream: Stream, epoch_batches: int, num_workers: int) -> None:
        super().__init__(
            stream,
            batch_size=None,
            collate_fn=unchanged,
            num_workers=num_workers,
            worker_init_fn=ignore_interrupts,
            generator=torch.Generator(),
        )
        self.epoch_batches = epoch_batches
        self._given = 0  # since the beginning of the run
        self._positions: dict[int, Position] = {}

    def __len__(self) -> int:
        return self.epoch_batches

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self.dataset.positions = dict(self._positions)
        self.dataset.first = self._given % max(1, self.num_workers)
        rest = self.epoch_batches - self._given % self.epoch_batches
        for batch, part, position in islice(super().__iter__(), rest):
            self._positions[part] = position
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return {
            "given": self._given,
            "parts": [max(1, self.num_workers), rank_and_ranks()[1]],
            "positions": gather_from_ranks(dict(self._positions)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Raises:
            ConfigError: the checkpoint is of other parts of the stream.
        """
        parts = [max(1, self.num_workers), rank_and_ranks()[1]]
        if state["parts"] != parts:
            raise ConfigError(
                f"the run was started with {state['parts'][0]} loading processes for each of "
                f"{state['parts'][1]} ranks, now there are {parts[0]} for each of {parts[1]}; a "
                "stream goes on with the same numbers alone"
            )
        self._given = state["given"]
        self._positions = dict(state["positions"][rank_and_ranks()[0]])
