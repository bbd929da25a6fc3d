"""The spelling of words as character ids, as the published ELMo models read them.

A token is the bytes of its UTF-8 between a begin and an end mark, then padding. All ids are shifted
by one, so that 0 is free for positions outside a document, as in `bilm-tf`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from elmo.data.text import BOS, MARKS, WordTokenizer

# Ids before the shift; 0 to 255 are bytes.
DOCUMENT_START, DOCUMENT_END, WORD_START, WORD_END, PADDING = range(256, 261)


class Spellings(NamedTuple):
    """The character ids of the words of a batch, each distinct spelling once.

    Attributes:
        characters: ids of the U distinct spellings (U, C), a row of zeros is padding; or their
            vectors (U, E), where these were computed before.
        places: the row in `characters` of each token of the batch (B, T).
        numbers: of the spellings in the lexicon of all batches (U,).
    """

    characters: Tensor
    places: Tensor
    numbers: Tensor

    def to(self, device: torch.device) -> Spellings:
        """Return the spellings on another device."""
        return Spellings(*(field.to(device) for field in self))


def character_ids(word: str, max_characters: int) -> np.ndarray:
    """Return the ids (C,) of a word, C = `max_characters`; its bytes are cut at C - 2.

    Half a surrogate pair has no bytes, and is left out.
    """
    if word in MARKS:
        content = [DOCUMENT_START if MARKS[word] == BOS else DOCUMENT_END]
    else:
        content = list(word.encode("utf-8", "ignore")[: max_characters - 2])
    ids = np.full(max_characters, PADDING, dtype=np.int16)
    ids[: len(content) + 2] = [WORD_START, *content, WORD_END]
    return ids + np.int16(1)


class Lexicon:
    """The distinct spellings of some documents, numbered from 1; 0 is padding.

    Args:
        max_characters: C, the number of ids of a word.
    """

    def __init__(self, max_characters: int) -> None:
        self.max_characters = max_characters
        self._numbers = {mark: number for number, mark in enumerate(MARKS, start=1)}

    def spell(self, words: Sequence[str]) -> np.ndarray:
        """Return the numbers of words between those of `<s>` and `</s>`, int32 (T,)."""
        numbers = self._numbers
        inner = [numbers.setdefault(word, len(numbers) + 1) for word in words]
        return np.array([1, *inner, 2], dtype=np.int32)

    def characters(self) -> np.ndarray:
        """Return the character ids of all spellings by number, int16 (U + 1, C)."""
        rows = [character_ids(word, self.max_characters) for word in self._numbers]
        return np.stack([np.zeros(self.max_characters, dtype=np.int16), *rows])


def lexicon_for(tokenizer: WordTokenizer) -> Lexicon | None:
    """Return an empty lexicon, or None where the model of the tokenizer reads whole words."""
    return Lexicon(tokenizer.max_characters) if tokenizer.max_characters else None


def document_ids(
    tokenizer: WordTokenizer, texts: Iterable[str], lexicon: Lexicon | None, chunk: int = 1000
) -> Iterator[np.ndarray]:
    """Yield the ids (T,) of each text, or with a lexicon ids and spelling numbers (2, T)."""
    if lexicon is None:
        yield from tokenizer.encode_ids(texts, chunk)
        return
    texts = iter(texts)
    while block := list(islice(texts, chunk)):
        for words, ids in tokenizer.encode(block):
            yield np.stack([ids, lexicon.spell(words)])


def spellings_of(numbers: Tensor, characters: np.ndarray) -> Spellings:
    """Return the spellings of a batch.

    Args:
        numbers: the spelling number of each token, 0 is padding (B, T).
        characters: the character ids by number (U + 1, C).
    """
    distinct, places = numbers.unique(return_inverse=True)
    rows = torch.from_numpy(characters[distinct.numpy()].astype(np.int64))
    return Spellings(rows, places, distinct)
