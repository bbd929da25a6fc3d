"""Ambiguous words in their contexts, layer by layer, for TensorBoard's projector."""

from __future__ import annotations

from collections import Counter

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from elmo.data.corpus import Corpus, column, texts_of
from elmo.inference.occurrences import Occurrence, cosines, find_occurrences, occurrence_vectors
from elmo.inference.senses import AMBIGUOUS_WORDS
from elmo.models.encoders import Encoder

OCCURRENCES = 30  # of each word: 22 words x 30 x 3 layers take about 6 MB
NEIGHBOURS = 5
WIDTH = 4  # words of context on each side


def write_projector(encoder: Encoder, corpus: Corpus, logger: Logger | None) -> int:
    """Write the vectors of ambiguous words of the validation split, one tensor per layer.

    Each point has its word, class, row in the source, the words around it (only where the corpus is
    the project's own: no news text gets there) and its nearest points in that layer.

    Returns:
        The number of points; 0 where too few of the words occur.
    """
    assert isinstance(logger, TensorBoardLogger)  # no trainer of this project has another
    rows = corpus.splits["validation"]
    texts, numbers = list(texts_of(rows)), column(rows, "row").tolist()
    points = _points(encoder, texts, column(rows, "label").tolist())
    if len(points) <= NEIGHBOURS:
        return 0
    layers = occurrence_vectors(encoder, texts, points)  # (L, N, D)
    names = [
        (point.word, corpus.class_names[point.label], str(numbers[point.document]))
        for point in points
    ]
    contexts = _contexts(encoder, texts, points) if corpus.redistributable else [""] * len(points)
    for index, near in enumerate(cosines(layers).topk(NEIGHBOURS).indices.tolist()):
        nearest = [
            "; ".join("{} ({}, {})".format(*names[other]) for other in others) for others in near
        ]
        logger.experiment.add_embedding(
            layers[index].double().numpy().round(4),  # which halves the file
            [[*names[i], contexts[i], nearest[i]] for i in range(len(points))],
            metadata_header=["word", "class", "row", "context", "nearest"],
            tag=f"layer_{index}",
        )
    return len(points)


def _points(encoder: Encoder, texts: list[str], labels: list[int]) -> list[Occurrence]:
    """Return the first occurrences of each ambiguous word, sorted by word."""
    seen: Counter[str] = Counter()
    points = []
    for occurrence in find_occurrences(encoder, texts, labels, AMBIGUOUS_WORDS):
        seen[occurrence.word] += 1
        if seen[occurrence.word] <= OCCURRENCES:
            points.append(occurrence)
    return sorted(points)


def _contexts(encoder: Encoder, texts: list[str], points: list[Occurrence]) -> list[str]:
    """Return each word in brackets among the words around it."""
    contexts = []
    documents = encoder.tokenizer.encode([texts[point.document] for point in points])
    for (words, _), point in zip(documents, points, strict=True):
        before = words[max(0, point.position - WIDTH) : point.position]
        after = words[point.position + 1 :][:WIDTH]
        contexts.append(" ".join([*before, f"[{words[point.position]}]", *after]))
    return contexts
