"""The vectors of every word of some documents, kept in memory so that a search takes no pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch.nn import functional

from elmo.data.text import clean
from elmo.inference.neighbours import BLOCK, Neighbour, NeighbourSearch, names_of
from elmo.inference.occurrences import DIGITS
from elmo.models.encoders import Encoder


class ContextIndex:
    """The layers of all N words of some documents: N L D numbers in single precision.

    Args:
        encoder: gives the vectors.
        documents: cleaned and tokenized here; those without words are skipped.
        max_words: no more documents are read after so many words.

    Attributes:
        texts: the documents that were read, cleaned.
        rows: the number of each among `documents`, from 0.
        tokens: the words of each, as written.
        is_complete: whether all documents were read.
        unit: the vectors, normalised to length one (L, N, D), on the CPU.
        document: number of the document of each word (N,).
        starts: number of the first word of each document.
    """

    def __init__(self, encoder: Encoder, documents: Iterable[str], max_words: int) -> None:
        self.encoder = encoder
        self.texts: list[str] = []
        self.rows: list[int] = []
        self.tokens: list[list[str]] = []
        self.is_complete = False
        names: list[str] = []  # the words as the encoder tells them apart
        units = [torch.zeros(encoder.num_layers, 0, encoder.dim)]
        row = 0
        for block in _blocks(documents):
            if len(names) >= max_words:
                break
            kept = names_of(encoder, block)
            for text, of_text, embedded in zip(block, kept, encoder.embed(block), strict=True):
                if of_text:
                    self.texts.append(text)
                    self.rows.append(row)
                    self.tokens.append(embedded.tokens)
                    names += of_text
                    units.append(functional.normalize(embedded.vectors, dim=-1))
                row += 1
        else:
            self.is_complete = True
        self.unit = torch.cat(units, 1)
        counts = [len(tokens) for tokens in self.tokens]
        self.document = np.repeat(np.arange(len(counts)), counts)
        self.starts = np.cumsum([0, *counts])[:-1]
        # Layer 0 has one vector for each distinct word: the first occurrence stands for all.
        self._names, self._first = np.unique(np.array(names, dtype=str), return_index=True)

    def search(self, search: NeighbourSearch) -> None:
        """Set `search.best` to what it is after feeding the documents, up to rounding."""
        query = search.query.cpu()  # (L, D)
        if not self.texts:
            return
        order = np.argsort(self._first)  # distinct words in the order of the documents
        order = order[self._names[order] != search.word]
        cosines = _rounded(self.unit[0, self._first[order]] @ query[0])
        search.best[0] = [
            self._neighbour(
                cosines[place], self._first[order[place]], str(self._names[order[place]])
            )
            for place in _largest(cosines, search.count)
        ]
        same = np.array([text.lower() == search.sentence for text in self.texts])
        for layer in range(1, len(query)):
            cosines = _rounded(self.unit[layer] @ query[layer])  # (N,)
            best = np.maximum.reduceat(cosines, self.starts)  # of each document
            best[same] = -np.inf
            documents = _largest(best, min(search.count, int((~same).sum())))
            search.best[layer] = [
                self._neighbour(best[document], self._place(document, cosines))
                for document in documents
            ]

    def occurrences(self, word: str) -> np.ndarray:
        """Return the number of the first occurrence of a word in each document that has it.

        Args:
            word: compared with the words as written, whatever their case.
        """
        found = []
        for start, tokens in zip(self.starts, self.tokens, strict=True):
            lowered = [token.lower() for token in tokens]
            if word.lower() in lowered:
                found.append(start + lowered.index(word.lower()))
        return np.array(found, dtype=int)

    def _place(self, document: int, cosines: np.ndarray) -> int:
        """Return the number of the word of a document with the largest of cosines (N,)."""
        start = self.starts[document]
        return int(start + cosines[start : start + len(self.tokens[document])].argmax())

    def _neighbour(self, cosine: float, place: int, name: str | None = None) -> Neighbour:
        document = int(self.document[place])
        position, tokens = int(place - self.starts[document]), self.tokens[document]
        return Neighbour(float(cosine), name or tokens[position], document, position, tokens)


def _blocks(documents: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(documents)
    while block := [clean(text) for text in islice(remaining, BLOCK)]:
        yield block


def _rounded(cosines: torch.Tensor) -> np.ndarray:
    return cosines.double().numpy().round(DIGITS)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the largest values, of equal ones the first place first."""
    return np.argsort(-values, kind="stable")[:count]
