"""The token ids of a split, memory-mapped, as a data set that makes whole batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from elmo.data.batches import Batch, pad
from elmo.data.corpus import BLOCK
from elmo.data.text import EOS, UNK, WordTokenizer


class TokenizedSplit(Dataset[Batch]):
    """The token ids of one split, memory-mapped from a folder that `build` filled.

    `tokens.npy` holds all documents one after another, `offsets.npy` (N + 1) where each begins.

    Attributes:
        cut_documents: how many were longer than `max_tokens` and lost their end.
    """

    def __init__(self, folder: Path) -> None:
        self.tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self.offsets = np.load(folder / "offsets.npy")
        self.labels = torch.from_numpy(np.load(folder / "labels.npy"))
        self.lengths = np.diff(self.offsets)
        self.cut_documents = json.loads((folder / "facts.json").read_text())["cut_documents"]
        self.layers: Callable[[list[int]], Tensor] | None = None  # what a store has of these rows

    @staticmethod
    def build(
        folder: Path,
        texts: Iterator[str],
        labels: np.ndarray,
        tokenizer: WordTokenizer,
        max_tokens: int,
    ) -> None:
        cut = 0
        lengths = [np.zeros(1, dtype=np.int64)]

        def count_cut() -> Iterator[np.ndarray]:
            nonlocal cut
            for ids in tokenizer.encode_ids(texts):
                cut += len(ids) > max_tokens
                yield ids

        documents = shortened(count_cut(), max_tokens)
        with (folder / "tokens.npy").open("wb") as file:
            _write_header(file, 0)
            while block := list(islice(documents, BLOCK)):
                lengths.append(np.array([len(ids) for ids in block], dtype=np.int64))
                file.write(np.concatenate(block).tobytes())
            offsets = np.cumsum(np.concatenate(lengths))
            _write_header(file, int(offsets[-1]))
        np.save(folder / "offsets.npy", offsets)
        np.save(folder / "labels.npy", labels.astype(np.int64))
        (folder / "facts.json").write_text(json.dumps({"cut_documents": cut}))

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, row: int) -> np.ndarray:
        """The ids (T,) of one document, with `<s>` and `</s>`."""
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    def __getitems__(self, rows: list[int]) -> Batch:
        tokens, lengths = pad([self.ids(row) for row in rows])
        index = torch.tensor(rows)
        layers = None if self.layers is None else self.layers(rows)
        return Batch(tokens, lengths, self.labels[index], index, layers)

    @property
    def unknown_words(self) -> np.ndarray:
        """How many words of each document are `<unk>` (N,)."""
        return np.add.reduceat(self.tokens == UNK, self.offsets[:-1], dtype=np.int64)

    @property
    def unknown_rate(self) -> float:
        """The share of `<unk>` among the words, `<s>` and `</s>` not counted."""
        return float((self.tokens == UNK).sum() / max(1, len(self.tokens) - 2 * len(self)))


def shortened(documents: Iterator[np.ndarray], max_tokens: int) -> Iterator[np.ndarray]:
    """Ids (T,) of which those of long documents keep their start, and end as all do."""
    for ids in documents:
        yield ids if len(ids) <= max_tokens else np.append(ids[: max_tokens - 1], np.int32(EOS))


def _write_header(file: IO[bytes], count: int) -> None:
    """Begin an .npy file of `count` ids, or set its count: numpy leaves room for any number."""
    file.seek(0)
    header = {"descr": np.dtype(np.int32).str, "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)


class Selected(Dataset[Batch]):
    """Some rows of a split; batches name the rows by their number in the split."""

    def __init__(self, data: TokenizedSplit, rows: np.ndarray) -> None:
        self.data = data
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.data.__getitems__(self.rows[indices].tolist())
