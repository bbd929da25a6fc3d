"""The nearest words in context to a word of a sentence, in every layer of an encoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from elmo.data.text import UNK, WordTokenizer, clean
from elmo.errors import ConfigError, check_range
from elmo.inference.occurrences import DIGITS
from elmo.models.encoders import Encoder

BLOCK = 256  # documents encoded together: similar lengths meet, and memory does not grow


class Neighbour(NamedTuple):
    """A word of a document that is near to the word asked for."""

    cosine: float  # of its vector and the vector of the word asked for, rounded to 5 digits
    word: str  # as written in the cleaned text; in layer 0 as written in the vocabulary
    document: int  # number of the document from 0; in layer 0 the first that has the word
    position: int  # of the word among `tokens`
    tokens: list[str]  # all words of the document


class MarkedWord(NamedTuple):
    """A sentence and one word in it."""

    text: str  # cleaned
    tokens: list[str]
    position: int  # of the word among `tokens`
    known: bool  # the word is in the vocabulary


def marked_word(sentence: str, tokenizer: WordTokenizer) -> MarkedWord:
    """Find the word in square brackets: `The bank of the river was [steep]`.

    Raises:
        ConfigError: there is not exactly one pair of brackets, or not one whole token inside.
    """
    parts = re.fullmatch(r"([^\[\]]*)\[([^\[\]]*)\]([^\[\]]*)", sentence, re.DOTALL)
    if parts is None:
        raise ConfigError(
            f"{sentence!r} has {sentence.count('[')} '[' and {sentence.count(']')} ']'; expected "
            "one word in brackets, as in 'The bank of the river was [steep]'"
        )
    pieces = [*parts.groups(), "".join(parts.groups())]
    texts = [clean(piece) for piece in pieces]
    *apart, whole = tokenizer.encode(texts)
    before, marked, after = (piece.words for piece in apart)
    if len(marked) != 1:
        found = f"{len(marked)} tokens ({', '.join(marked)})" if marked else "no token"
        raise ConfigError(f"'[{parts[2]}]' holds {found}; put the brackets around one word")
    if whole.words != [*before, *marked, *after]:
        raise ConfigError(
            f"the brackets of '[{parts[2]}]' cut a token in two: the sentence without them is read "
            f"as {' '.join(whole.words)!r}; put them around one whole word of it"
        )
    # <s> comes first.
    known = tokenizer.reads_characters or whole.ids[len(before) + 1] != UNK
    return MarkedWord(texts[-1], whole.words, len(before), bool(known))


class NeighbourSearch:
    """A search for the nearest words of each layer, in documents that are fed block by block.

    By cosine, layer by layer, as Table 4 of Peters et al. 2018 does for "play".

    Layer 0 of an encoder is static, with one vector for each word of the vocabulary. So its
    neighbours are distinct words, without the word itself, and all unknown words count as one.
    Above it neighbours are occurrences, at most one in a document and none in the sentence itself.
    Neighbours of equal cosine are in the order of the documents.

    Args:
        encoder: gives the vectors.
        text: the sentence; cleaned and tokenized here.
        position: of the word among the tokens of `text`, from 0; `marked_word` finds it.
        count: neighbours kept in a layer.

    Attributes:
        best: the neighbours of each layer, the nearest first.
        documents, tokens: how many were searched so far.

    Raises:
        ConfigError: `count` is less than 1, or `text` has no token at `position`.
    """

    def __init__(self, encoder: Encoder, text: str, position: int, count: int) -> None:
        check_range({"the count of neighbours": count}, at_least=1)
        ((words, vectors),) = encoder.embed([text])
        if not 0 <= position < len(words):
            raise ConfigError(
                f"position is {position}; {text!r} has {len(words)} tokens, counted from 0"
            )
        self.encoder = encoder
        self.sentence = clean(text).lower()
        (names,) = names_of(encoder, [clean(text)])
        self.word = names[position]
        self.query = functional.normalize(vectors[:, position], dim=-1)  # (L, D)
        self.count = count
        self.best: list[list[Neighbour]] = [[] for _ in range(encoder.num_layers)]
        self.documents = 0
        self.tokens = 0

    def feed(self, documents: Iterable[str]) -> None:
        """Search more documents, a block at a time."""
        feed_searches([self], documents)

    def add_document(
        self, index: int, names: list[str], words: list[str], text: str, unit: Tensor
    ) -> None:
        """Add one document of a block.

        Args:
            index: of the document in its block.
            names: its words as the encoder tells them apart.
            words, text: the document, cleaned.
            unit: its vectors, normalised to length one (L, T, D).
        """
        document = self.documents + index
        cosines = torch.einsum("ltd,ld->lt", unit, self.query).double()
        static, *contextual = cosines.round(decimals=DIGITS).tolist()
        for position, name in enumerate(names):
            if name != self.word:
                self.best[0].append(Neighbour(static[position], name, document, position, words))
        if words and text.lower() != self.sentence:
            for best, row in zip(self.best[1:], contextual, strict=True):
                position = max(range(len(row)), key=row.__getitem__)
                best.append(Neighbour(row[position], words[position], document, position, words))
        self.tokens += len(words)

    def close_block(self, documents: int) -> None:
        """Keep the nearest after all documents of a block were added."""
        self.documents += documents
        self.best = [self._nearest(found, layer == 0) for layer, found in enumerate(self.best)]

    def _nearest(self, found: list[Neighbour], static: bool) -> list[Neighbour]:
        found.sort(
            key=lambda neighbour: (-neighbour.cosine, neighbour.document, neighbour.position)
        )
        if static:  # distinct words
            first = {neighbour.word: neighbour for neighbour in reversed(found)}
            found = [neighbour for neighbour in found if first[neighbour.word] is neighbour]
        return found[: self.count]


def feed_searches(searches: Sequence[NeighbourSearch], documents: Iterable[str]) -> None:
    """Search documents for several words at once, with one encoder.

    Args:
        documents: cleaned and tokenized here; no more than a block of them is held in memory.
    """
    if isinstance(documents, str):
        raise ConfigError("documents is one string; expected a list of them, such as [text]")
    encoder = searches[0].encoder
    documents = iter(documents)
    while block := list(islice(documents, BLOCK)):
        texts = [clean(text) for text in block]
        names = names_of(encoder, texts)
        for index, (words, vectors) in encoder.embed_by_length(texts):
            unit = functional.normalize(vectors, dim=-1)  # (L, T, D)
            for search in searches:
                search.add_document(index, names[index], words, texts[index], unit)
        for search in searches:
            search.close_block(len(block))


def names_of(encoder: Encoder, texts: Sequence[str]) -> list[list[str]]:
    """Return the words of cleaned texts as the encoder tells them apart.

    Those are entries of its vocabulary, or, where it reads characters, the words as written.
    """
    tokenizer = encoder.tokenizer
    documents = tokenizer.encode(texts)
    if tokenizer.reads_characters:
        return [document.words for document in documents]
    return [[tokenizer.words[word] for word in document.ids[1:-1]] for document in documents]
