"""The token ids of a split as a memory-mapped data set that makes whole batches."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from elmo.data.batches import Batch, make_batch
from elmo.data.characters import document_ids, lexicon_for
from elmo.data.corpus import BLOCK
from elmo.data.text import UNK, WordTokenizer


class TokenizedSplit(Dataset[Batch]):
    """The token ids of one split, memory-mapped from a folder that `build` filled.

    `tokens.npy` contains the ids of all documents, `offsets.npy` (N + 1) where each one begins. For
    a model that reads characters, `spellings.npy` contains the spelling number of each token and
    `characters.npy` the character ids of each number.

    Attributes:
        tokens: the ids of all documents, one after another.
        offsets: where each document begins in `tokens` (N + 1,).
        labels: the class of each document (N,).
        lengths: the number of tokens of each document (N,).
        cut_documents: number of documents that were longer than `max_tokens` and lost their end.
        layers: a function that loads the stored encoder layers of some rows (S, B, T, D), or None.
    """

    def __init__(self, folder: Path) -> None:
        self.tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self.offsets = np.load(folder / "offsets.npy")
        self.labels = torch.from_numpy(np.load(folder / "labels.npy"))
        self.lengths = np.diff(self.offsets)
        self.cut_documents = json.loads((folder / "facts.json").read_text())["cut_documents"]
        self.layers: Callable[[list[int]], Tensor] | None = None
        spelled = (folder / "spellings.npy").exists()
        self.spellings = np.load(folder / "spellings.npy", mmap_mode="r") if spelled else None
        self.characters = np.load(folder / "characters.npy", mmap_mode="r") if spelled else None

    @staticmethod
    def build(
        folder: Path,
        texts: Iterator[str],
        labels: np.ndarray,
        tokenizer: WordTokenizer,
        max_tokens: int,
    ) -> None:
        """Tokenize documents and write the files of the split to `folder`.

        Args:
            folder: an existing folder.
            texts: the cleaned documents.
            labels: the class of each document (N,).
            tokenizer: the tokenizer that makes ids of the words.
            max_tokens: maximum length, `<s>` and `</s>` included; longer documents are truncated.
        """
        cut = 0
        lengths = [np.zeros(1, dtype=np.int64)]
        lexicon = lexicon_for(tokenizer)

        def count_cut() -> Iterator[np.ndarray]:
            nonlocal cut
            for ids in document_ids(tokenizer, texts, lexicon):
                cut += ids.shape[-1] > max_tokens
                yield ids

        documents = truncate(count_cut(), max_tokens)
        names = ["tokens", "spellings"] if lexicon else ["tokens"]
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context((folder / f"{name}.npy").open("wb")) for name in names]
            for file in files:
                _write_header(file, 0)
            while block := list(islice(documents, BLOCK)):
                lengths.append(np.array([ids.shape[-1] for ids in block], dtype=np.int64))
                rows = np.atleast_2d(np.concatenate(block, axis=-1))  # (1 or 2, tokens)
                for file, row in zip(files, rows, strict=True):
                    file.write(row.tobytes())
            offsets = np.cumsum(np.concatenate(lengths))
            for file in files:
                _write_header(file, int(offsets[-1]))
        if lexicon:
            np.save(folder / "characters.npy", lexicon.characters())
        np.save(folder / "offsets.npy", offsets)
        np.save(folder / "labels.npy", labels.astype(np.int64))
        (folder / "facts.json").write_text(json.dumps({"cut_documents": cut}))

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, row: int) -> np.ndarray:
        """Return the ids (T,) of one document, with `<s>` and `</s>`."""
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    def __getitems__(self, rows: list[int]) -> Batch:
        index = torch.tensor(rows)
        layers = None if self.layers is None else self.layers(rows)
        documents = [self.document(row) for row in rows]
        return make_batch(documents, self.labels[index], index, self.characters, layers)

    def document(self, row: int) -> np.ndarray:
        """Return the ids (T,) of one document, or its ids and spelling numbers (2, T)."""
        if self.spellings is None:
            return self.ids(row)
        return np.stack([self.ids(row), self.spellings[self.offsets[row] : self.offsets[row + 1]]])

    @property
    def unknown_words(self) -> np.ndarray:
        """The number of `<unk>` in each document (N,)."""
        return np.add.reduceat(self.tokens == UNK, self.offsets[:-1], dtype=np.int64)

    @property
    def unknown_rate(self) -> float:
        """The share of `<unk>` among the words; `<s>` and `</s>` do not count."""
        return float((self.tokens == UNK).sum() / max(1, len(self.tokens) - 2 * len(self)))


def truncate(documents: Iterator[np.ndarray], max_tokens: int) -> Iterator[np.ndarray]:
    """Yield ids (..., T), those of documents longer than `max_tokens` cut and ended with `</s>`."""
    for ids in documents:
        if ids.shape[-1] > max_tokens:
            ids = np.concatenate([ids[..., : max_tokens - 1], ids[..., -1:]], axis=-1)
        yield ids


def _write_header(file: IO[bytes], count: int) -> None:
    """Write the header of an .npy file of `count` ids; it has the same size for every count."""
    file.seek(0)
    header = {"descr": np.dtype(np.int32).str, "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)


class RowSubset(Dataset[Batch]):
    """Some rows of a split; `Batch.row` is still their position in the whole split.

    Args:
        data: the split.
        rows: positions of the rows (N',).
    """

    def __init__(self, data: TokenizedSplit, rows: np.ndarray) -> None:
        self.data = data
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.data.__getitems__(self.rows[indices].tolist())


class Copies(NamedTuple):
    """Copies of the train rows that are used, with other words in some places.

    Attributes:
        documents: the first copy of each of the N' rows, then the second of each, ...
        key: a hash of all that their content depends on.
        facts: what is recorded of them.
    """

    documents: TokenizedSplit
    key: str
    facts: dict[str, Any]


class WithCopies(Dataset[Batch]):
    """Some rows of a split, then copies of them; `Batch.row` of a copy is that of its original.

    Args:
        data: the split.
        rows: positions of the rows (N',).
        copies: of these rows, see `Copies`.

    Attributes:
        lengths: the number of tokens of each document.
    """

    def __init__(self, data: TokenizedSplit, rows: np.ndarray, copies: TokenizedSplit) -> None:
        self.data = data
        self.rows = rows
        self.copies = copies
        self.lengths = np.concatenate([data.lengths[rows], copies.lengths])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, indices: list[int]) -> Batch:
        count = len(self.rows)
        # Originals first: the layers of both come from two files.
        originals = [int(self.rows[i]) for i in indices if i < count]
        copied = [i - count for i in indices if i >= count]
        row = torch.tensor([*originals, *(int(self.rows[i % count]) for i in copied)])
        documents = [self.data.document(i) for i in originals]
        documents += [self.copies.document(i) for i in copied]
        parts = [
            part.layers(wanted)
            for part, wanted in ((self.data, originals), (self.copies, copied))
            if wanted and part.layers is not None
        ]
        layers = _side_by_side(parts) if parts else None
        return make_batch(documents, self.data.labels[row], row, self.copies.characters, layers)


def _side_by_side(parts: list[Tensor]) -> Tensor:
    """Return the layers of several batches (S, B, T, D) as those of one, padded to the longest."""
    longest = max(part.shape[2] for part in parts)
    return torch.cat(
        [functional.pad(part, (0, 0, 0, longest - part.shape[2])) for part in parts], 1
    )
