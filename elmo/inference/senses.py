"""Ambiguous words in an encoder: their neighbours, and whether these are of the same sense."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from elmo.data.corpus import Corpus, column, texts_of
from elmo.errors import ConfigError
from elmo.inference.nearest import DIGITS, Search, feed, token_ids
from elmo.models.encoders import Encoder

LEAST = 2  # descriptions of a class that has to have a word


class Occurrence(NamedTuple):
    """A word in a row of a split."""

    document: int  # position in the split
    position: int  # among its tokens, without <s> and </s>
    label: int


class Study(NamedTuple):
    """What an encoder knows of some words."""

    words: dict[str, int]  # occurrences of each
    chance: float  # that another occurrence of the same word is of the same class
    agreement: list[float]  # of each layer: as above, of the nearest other occurrence
    queries: list[dict[str, Any]]  # word, row, class; neighbours of each layer


def study(encoder: Encoder, corpus: Corpus, words: Sequence[str], count: int) -> Study:
    """
    The class of a description stands for the sense of a word in it, which nobody has labelled.

    Args:
        words: those without `LEAST` descriptions of each of two classes are passed by.
        count: neighbours of an occurrence in each layer.

    Raises:
        ConfigError: no word is left.
    """
    rows = corpus.splits["validation"]
    texts = list(texts_of(rows))
    found = _occurrences(encoder, texts, column(rows, "label").tolist(), words)
    if not found:
        raise ConfigError(
            f"none of {', '.join(words)} stands in {LEAST} validation descriptions of each of two "
            "classes; name other words by --words"
        )
    numbers = column(rows, "row").tolist()
    names = corpus.class_names
    queries = [(word, one) for word, places in found.items() for one in _typical(places)]
    searches = [Search(encoder, texts[one.document], one.position, count) for _, one in queries]
    feed(searches, texts)
    labels = column(rows, "label").tolist()
    table = [
        {
            "word": word,
            "row": numbers[one.document],
            "class": names[one.label],
            "neighbours": [
                [
                    {
                        "word": near.word,
                        "cosine": near.cosine,
                        # The same vector in any row: that one has the word says nothing.
                        "row": numbers[near.document] if layer else None,
                        "class": names[labels[near.document]] if layer else None,
                    }
                    for near in best
                ]
                for layer, best in enumerate(search.best)
            ],
        }
        for (word, one), search in zip(queries, searches, strict=True)
    ]
    counts = {word: len(places) for word, places in found.items()}
    return Study(counts, _chance(found), _agreement(encoder, texts, found), table)


def _occurrences(
    encoder: Encoder, texts: list[str], labels: list[int], words: Sequence[str]
) -> dict[str, list[Occurrence]]:
    """The first occurrence of each word in each description that has it.

    A description that occurs twice counts once: it would be its own nearest.
    """
    known = encoder.tokenizer.words
    wanted = set(words)
    found: dict[str, list[Occurrence]] = {word: [] for word in words}
    before: set[str] = set()
    for document, ids in enumerate(token_ids(encoder, texts)):
        if texts[document].lower() in before:
            continue
        before.add(texts[document].lower())
        seen = [known[index] for index in ids]
        for word in wanted & set(seen):
            found[word].append(Occurrence(document, seen.index(word), labels[document]))
    return {word: places for word, places in found.items() if len(_typical(places)) == 2}


def _typical(places: list[Occurrence]) -> list[Occurrence]:
    """The first occurrence in each of the two classes that have most of them."""
    counts = Counter(one.label for one in places)
    often = [label for label, count in counts.most_common(2) if count >= LEAST]
    return [next(one for one in places if one.label == label) for label in often]


def _chance(found: dict[str, list[Occurrence]]) -> float:
    right = 0.0
    for places in found.values():
        counts = Counter(one.label for one in places).values()
        right += sum(count * (count - 1) for count in counts) / (len(places) - 1)
    return right / sum(map(len, found.values()))


def _agreement(
    encoder: Encoder, texts: list[str], found: dict[str, list[Occurrence]]
) -> list[float]:
    """The mean over all occurrences; occurrences that are equally near share the vote."""
    right = torch.zeros(encoder.num_layers, dtype=torch.float64)
    for places in found.values():
        embedded = encoder.embed([texts[one.document] for one in places])
        vectors = torch.stack(
            [one.vectors[:, p.position] for one, p in zip(embedded, places, strict=True)], dim=1
        )  # (L, n, D)
        unit = functional.normalize(vectors, dim=-1).double()
        cosines = (unit @ unit.transpose(1, 2)).round(decimals=DIGITS)  # (L, n, n)
        cosines.diagonal(dim1=1, dim2=2).fill_(-2.0)
        nearest = (cosines == cosines.amax(-1, keepdim=True)).double()
        labels = torch.tensor([one.label for one in places])
        same = (labels[:, None] == labels).double()
        right += ((nearest * same).sum(-1) / nearest.sum(-1)).sum(-1)
    return (right / sum(map(len, found.values()))).tolist()
