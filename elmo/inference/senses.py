"""Words of several senses: which layer of an encoder distinguishes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from elmo.data.corpus import Corpus, column, texts_of
from elmo.errors import ConfigError
from elmo.inference.neighbours import NeighbourSearch, feed_searches
from elmo.inference.occurrences import Occurrence, cosines, find_occurrences, occurrence_vectors
from elmo.models.encoders import Encoder

LEAST = 2  # descriptions of a class in which a word has to occur

# Each has senses that belong to different classes of news, and occurs in the toy corpus as well.
AMBIGUOUS_WORDS = {
    *("apple", "bank", "base", "bird", "cell", "chip", "court", "draft", "field", "goal", "match"),
    *("net", "pitch", "race", "seed", "star", "storm", "strike", "trade", "virus", "web", "window"),
}


class SenseStudy(NamedTuple):
    """The result of `study_senses`: how well each layer distinguishes the senses of words."""

    words: dict[str, int]  # occurrences of each
    chance: float  # share of pairs of occurrences of a word that are of the same class
    agreement: list[float]  # of each layer: how often the nearest occurrence is of the same class
    queries: list[dict[str, Any]]  # word, row, class; neighbours of each layer


def study_senses(encoder: Encoder, corpus: Corpus, words: Sequence[str], count: int) -> SenseStudy:
    """Study words in the validation split.

    The class of a description serves as the sense of a word in it, which nobody has labelled.

    Args:
        words: those without `LEAST` descriptions of each of two classes are skipped.
        count: neighbours of an occurrence in each layer.

    Raises:
        ConfigError: no word is left.
    """
    rows = corpus.splits["validation"]
    texts = list(texts_of(rows))
    labels, numbers = column(rows, "label").tolist(), column(rows, "row").tolist()
    by_word: dict[str, list[Occurrence]] = {word: [] for word in words}
    for occurrence in find_occurrences(encoder, texts, labels, set(words)):
        by_word[occurrence.word].append(occurrence)
    by_word = {word: places for word, places in by_word.items() if len(_typical(places)) == 2}
    if not by_word:
        raise ConfigError(
            f"none of {', '.join(words)} occurs in {LEAST} validation descriptions of each of two "
            "classes; name other words with --words"
        )
    typical = [occurrence for places in by_word.values() for occurrence in _typical(places)]
    searches = [NeighbourSearch(encoder, texts[o.document], o.position, count) for o in typical]
    feed_searches(searches, texts)
    queries = [
        {
            "word": occurrence.word,
            "row": numbers[occurrence.document],
            "class": corpus.class_names[occurrence.label],
            "neighbours": [
                [
                    {
                        "word": near.word,
                        "cosine": near.cosine,
                        # The same vector in any row: that this one has the word says nothing.
                        "row": numbers[near.document] if layer else None,
                        "class": corpus.class_names[labels[near.document]] if layer else None,
                    }
                    for near in best
                ]
                for layer, best in enumerate(search.best)
            ],
        }
        for occurrence, search in zip(typical, searches, strict=True)
    ]
    counts = {word: len(places) for word, places in by_word.items()}
    return SenseStudy(counts, _chance(by_word), _agreement(encoder, texts, by_word), queries)


def _typical(places: list[Occurrence]) -> list[Occurrence]:
    """Return the first occurrence in each of the two classes that have most of them."""
    counts = Counter(occurrence.label for occurrence in places)
    often = [label for label, count in counts.most_common(2) if count >= LEAST]
    return [next(place for place in places if place.label == label) for label in often]


def _chance(by_word: dict[str, list[Occurrence]]) -> float:
    right = 0.0
    for places in by_word.values():
        counts = Counter(occurrence.label for occurrence in places).values()
        right += sum(count * (count - 1) for count in counts) / (len(places) - 1)
    return right / sum(map(len, by_word.values()))


def _agreement(
    encoder: Encoder, texts: list[str], by_word: dict[str, list[Occurrence]]
) -> list[float]:
    """Return the mean over all occurrences; occurrences that are equally near share the vote."""
    right = torch.zeros(encoder.num_layers, dtype=torch.float64)
    for places in by_word.values():
        near = cosines(occurrence_vectors(encoder, texts, places))  # (L, n, n)
        nearest = (near == near.amax(-1, keepdim=True)).double()
        labels = torch.tensor([occurrence.label for occurrence in places])
        same = (labels[:, None] == labels).double()
        right += ((nearest * same).sum(-1) / nearest.sum(-1)).sum(-1)
    return (right / sum(map(len, by_word.values()))).tolist()
