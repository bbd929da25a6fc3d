"""The vectors of labelled words in each layer of a frozen encoder, computed once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from elmo.data.text import clean
from elmo.models.encoders import Encoder
from elmo.probing.words import Document, Word

IN_MEMORY = 4 * 2**30  # bytes of the vectors of a split; more of them lie in a temporary file


class Features(NamedTuple):
    """The vectors of the N labelled words of a split.

    Attributes:
        vectors: half precision, normalised (L, N, D).
        norms: the mean length of the vectors of each layer before they were normalised (L,).
        without_token: words that the tokenizer cleans away; their vectors are zero.
    """

    vectors: Tensor
    norms: list[float]
    without_token: int

    @property
    def size(self) -> int:
        """The bytes of the vectors."""
        return self.vectors.numel() * self.vectors.element_size()


class Pieces(NamedTuple):
    """The tokens of a unit, and where in it they are."""

    tokens: list[str]
    places: list[tuple[int, int]]


def word_features(encoder: Encoder, documents: Sequence[Document]) -> Features:
    """Compute the vectors of all labelled words, in the order of the documents.

    The vector of a word is the mean over its tokens: the encoder's tokenizer may split a word, or
    make one token of two words. Each layer of it is then brought to mean 0 and variance 1, as
    `Mixer` does, so that probes and lambdas compare layers and not their scales.
    """
    pieces = unit_pieces(encoder, documents)
    first = np.cumsum([0, *(len(document.words) for document in documents)])
    vectors = _space((encoder.num_layers, int(first[-1]), encoder.dim))
    norms = torch.zeros(encoder.num_layers, dtype=torch.float64)
    without = 0
    tokens = [[t for unit in document.units for t in pieces[unit].tokens] for document in documents]
    for row, embedding in encoder.embed_by_length(tokens):
        words = documents[row].words
        if not words:
            continue
        places, owners = token_places(documents[row], pieces)
        counts = torch.bincount(owners, minlength=len(words))  # (W,)
        without += int((counts == 0).sum())
        mean = embedding.vectors.new_zeros(len(embedding.vectors), len(words), encoder.dim)
        mean.index_add_(1, owners, embedding.vectors[:, places])  # (L, W, D)
        mean /= counts.clamp(min=1)[:, None]
        norms += mean.norm(dim=-1).sum(-1)
        normal = functional.layer_norm(mean, (encoder.dim,))
        vectors[:, first[row] : first[row + 1]] = normal.half()
    return Features(vectors, (norms / max(1, int(first[-1]) - without)).tolist(), without)


def unit_pieces(encoder: Encoder, documents: Sequence[Document]) -> dict[str, Pieces]:
    """Return the tokens of every unit of the documents."""
    units = list(dict.fromkeys(unit for document in documents for unit in document.units))
    found = {}
    cleaned = list(map(clean, units))
    for unit, text, tokenized in zip(
        units, cleaned, encoder.tokenizer.encode(cleaned), strict=True
    ):
        places: list[tuple[int, int]] = []
        end = 0
        for token in tokenized.words:
            start = text.find(token, end)
            if start < 0:  # one character, such as "½", can be several tokens
                places.append(places[-1])
                continue
            end = start + len(token)
            places.append((start, end))
        if len(text) != len(unit):  # characters of the unit are others in the cleaned text
            places = [(0, len(unit))] * len(places)
        found[unit] = Pieces(tokenized.words, places)
    return found


def token_places(document: Document, pieces: dict[str, Pieces]) -> tuple[Tensor, Tensor]:
    """Return the numbers of the tokens of the words, and the number of the word of each (P,)."""
    first = np.cumsum([0, *(len(pieces[unit].tokens) for unit in document.units)])
    places: list[int] = []
    owners: list[int] = []
    for number, word in enumerate(document.words):
        of_word = _overlapping(word, pieces[document.units[word.unit]])
        places += [int(first[word.unit]) + index for index in of_word]
        owners += [number] * len(of_word)
    return torch.tensor(places, dtype=torch.int64), torch.tensor(owners, dtype=torch.int64)


def _overlapping(word: Word, pieces: Pieces) -> list[int]:
    """Return the numbers of the tokens that share characters with the word."""
    return [
        index
        for index, (start, end) in enumerate(pieces.places)
        if end > word.start and (word.end is None or start < word.end)
    ]


def _space(shape: tuple[int, int, int]) -> Tensor:
    """Return zeros in half precision, in a file that is deleted at exit where they are large."""
    if 2 * int(np.prod(shape)) <= IN_MEMORY:
        return torch.zeros(shape, dtype=torch.float16)
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, np.float16, "w+", shape=shape))
