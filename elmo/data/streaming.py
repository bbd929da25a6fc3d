"""Batches from a stream of documents, for pretraining on more text than memory or disk hold."""

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
    make_batch,
    unchanged,
)
from elmo.data.characters import document_ids, lexicon_for
from elmo.data.splitting import text_digests
from elmo.data.text import WordTokenizer, clean
from elmo.data.tokens import truncate
from elmo.errors import ConfigError
from elmo.utils.ranks import gather_from_ranks, rank_and_ranks

if TYPE_CHECKING:
    from elmo.data.user_corpus import StreamedCorpus

Position = dict[str, Any]  # plain data, because checkpoints store it
Item = tuple[Batch, int, Position]  # a batch, the part it is from, where that part continues

START: Position = {"round": 0, "stream": None, "buffer": 0, "given": 0}


class Stream(IterableDataset[Item]):
    """Endless batches of documents of similar length; each round reads the whole stream once.

    A buffer of documents is read, shuffled, sorted by length and cut into batches, which come in
    random order; then the next buffer is read. A position consists of the start of a buffer in the
    stream, the number of the buffer, and the number of batches it has given. To continue there, the
    buffer is read again, and no document is skipped or given twice. In every round, each worker of
    each rank reads a separate part of the documents.

    Args:
        corpus: the corpus to read; documents in its validation and test split are left out.
        tokenizer: the tokenizer that makes ids of the words.
        token_budget: padded tokens in a batch, at most.
        max_tokens: maximum length of a document; longer ones are truncated.
        buffer_documents: documents in a buffer, of which each worker of each rank has one.
        seed: of the shuffling.

    Attributes:
        positions: where each part of this rank continues.
        first: the part that gives the next batch.
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
        self.held_out = {digest.tobytes() for texts in held_out for digest in text_digests(texts)}
        self.positions: dict[int, Position] = {}
        self.first = 0

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        # A loader always asks its workers in turn, beginning with the first.
        parts = [(self.first + number) % workers for number in range(workers)]
        part = parts[worker]
        rank, ranks = rank_and_ranks()
        position = self.positions.get(part, START)
        documents = Documents(
            self.corpus, [rank * workers + part for part in parts], ranks * workers, position
        )
        given = position["given"]
        for number in count(position["buffer"]):
            start = documents.position()
            buffer, characters = self._buffer(documents)
            order = EpochOrder(np.array([ids.shape[-1] for ids in buffer]), self.seed)
            order.set_epoch(number * ranks * workers + rank * workers + part)
            batches = list(TokenBudgetBatches(order, self.token_budget))
            for index in range(given, len(batches)):
                chosen = [buffer[row] for row in batches[index]]
                zeros = torch.zeros(len(chosen), dtype=torch.long)
                after = {**start, "buffer": number, "given": index + 1}
                if index + 1 == len(batches):
                    after = {**documents.position(), "buffer": number + 1, "given": 0}
                yield make_batch(chosen, zeros, zeros, characters), part, after
            given = 0

    def _buffer(self, documents: Documents) -> tuple[list[np.ndarray], np.ndarray | None]:
        """Read the next documents; return the arguments of `make_batch`.

        Raises:
            ConfigError: a part of the stream has no documents.
        """
        texts = islice(self._train_texts(documents), self.buffer_documents)
        lexicon = lexicon_for(self.tokenizer)
        buffer = list(truncate(document_ids(self.tokenizer, texts, lexicon), self.max_tokens))
        if not buffer:
            raise ConfigError(
                f"data={self.corpus.name}: a part of the stream has no documents; expected more "
                "documents than ranks and datamodule.num_workers"
            )
        return buffer, None if lexicon is None else lexicon.characters()

    def _train_texts(self, documents: Documents) -> Iterator[str]:
        """Yield cleaned texts that are not held out, round after round."""
        empty = 0  # rounds without a text; the first may be the rest of a round
        while empty < 2:
            empty += 1
            for text in documents:
                cleaned = clean(text)
                if cleaned and text_digests([cleaned])[0].tobytes() not in self.held_out:
                    empty = 0
                    yield cleaned


class Documents:
    """The texts of one part of a corpus's stream; each iteration is a round.

    Args:
        corpus: the corpus to read.
        parts: the parts of this rank, in the order of its workers; `datasets` gives each worker its
            part.
        num_parts: the number of parts of all ranks.
        position: where to begin.
    """

    def __init__(
        self, corpus: StreamedCorpus, parts: list[int], num_parts: int, position: Position
    ) -> None:
        self.corpus = corpus
        self.parts = parts
        self.num_parts = num_parts
        self.round = position["round"]
        self._source = corpus.stream(parts, num_parts)
        self._start: dict[str, Any] | None = position["stream"]
        if self._start is not None:
            self._source.load_state_dict(self._start)
        self._iterator: Iterator[dict[str, Any]] | None = None

    def position(self) -> Position:
        """Return where the next document is in the stream."""
        # Before its first document a source has no state, not even the one that was loaded.
        stream = self._start if self._iterator is None else self._source.state_dict()
        return {"round": self.round, "stream": stream}

    def __iter__(self) -> Iterator[str]:
        if self._iterator is None:
            self._iterator = iter(self._source)
        for row in self._iterator:
            yield row["text"]
        self.round += 1
        self._source = self.corpus.stream(self.parts, self.num_parts)
        self._start, self._iterator = None, None


class StreamLoader(DataLoader[Item]):
    """A loader of streams: an epoch has `epoch_batches` batches and continues after the last one.

    Like `ResumableLoader`, it has a state, so that a resumed run continues with the next batch.

    Args:
        stream: the batches.
        epoch_batches: number of batches in an epoch.
        num_workers: processes that read, tokenize and shuffle.
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
        self._given = 0  # batches since the start of the run
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
        """Return the number of batches given, the numbers of workers and ranks, all positions."""
        return {
            "given": self._given,
            "parts": [max(1, self.num_workers), rank_and_ranks()[1]],
            "positions": gather_from_ranks(dict(self._positions)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration continue from a state.

        Raises:
            ConfigError: the state is from another number of workers or ranks.
        """
        parts = [max(1, self.num_workers), rank_and_ranks()[1]]
        if state["parts"] != parts:
            raise ConfigError(
                f"the run was started with {state['parts'][0]} loading processes for each of "
                f"{state['parts'][1]} ranks, now there are {parts[0]} for each of {parts[1]}; a "
                "stream can only continue with the same numbers"
            )
        self._given = state["given"]
        self._positions = dict(state["positions"][rank_and_ranks()[0]])
