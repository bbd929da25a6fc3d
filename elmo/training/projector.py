"""Words of several senses in their contexts, layer by layer, for TensorBoard's projector."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor
from torch.nn import functional

from elmo.data.corpus import Corpus
from elmo.models.encoders import Encoder

# Each has senses that belong to different classes of news, and stands in the toy corpus, too.
AMBIGUOUS_WORDS = {
    *("apple", "bank", "base", "bird", "cell", "chip", "court", "draft", "field", "goal", "match"),
    *("net", "pitch", "race", "seed", "star", "storm", "strike", "trade", "virus", "web", "window"),
}
OCCURRENCES = 30  # of each word: 22 words x 30 x 3 layers make some 6 MB of numbers
NEIGHBOURS = 5


class Occurrence(NamedTuple):
    """One token: its word, where it stands, and its layers."""

    word: str
    row: int  # in the source of the corpus
    label: str
    context: str  # the words around it; empty where the corpus may not be passed on
    vectors: Tensor  # (L, D)


def write_projector(encoder: Encoder, corpus: Corpus, logger: Logger | None) -> int:
    """Write the vectors of ambiguous words of the validation split, one tensor a layer.

    With each point stand its word, class, row in the source, the words around it (only where the
    corpus is our own: no news text gets there) and its nearest points in that layer.

    Returns:
        The number of points; 0 where none of the words occurs.
    """
    assert isinstance(logger, TensorBoardLogger)  # no trainer of this project has another
    points = find_occurrences(encoder, corpus)
    if len(points) <= NEIGHBOURS:
        return 0
    layers = torch.stack([point.vectors for point in points], 1)  # (L, N, D)
    for index, vectors in enumerate(layers):
        metadata = [
            [point.word, point.label, str(point.row), point.context, near]
            for point, near in zip(points, _nearest(vectors, points), strict=True)
        ]
        logger.experiment.add_embedding(
            vectors.double().numpy().round(4),  # which halves the file
            metadata,
            metadata_header=["word", "class", "row", "context", "nearest"],
            tag=f"layer_{index}",
        )
    return len(points)


def find_occurrences(encoder: Encoder, corpus: Corpus) -> list[Occurrence]:
    """The first occurrences of each ambiguous word in the validation split, with their layers."""
    split = corpus.splits["validation"]
    texts = [text for batch in split.iter(1000) for text in batch["text"]]
    seen: Counter[str] = Counter()
    places: dict[int, list[int]] = {}
    for row, document in enumerate(encoder.tokenizer.encode(texts)):
        for position, word in enumerate(document.words):
            word = word.lower()
            if word in AMBIGUOUS_WORDS and seen[word] < OCCURRENCES:
                seen[word] += 1
                places.setdefault(row, []).append(position)
    rows = list(places)
    labels, numbers = np.array(split["label"]), np.array(split["row"])
    found = []
    for index, embedding in enumerate(encoder.embed([texts[row] for row in rows])):
        row = rows[index]
        for position in places[row]:
            found.append(
                Occurrence(
                    embedding.tokens[position].lower(),
                    int(numbers[row]),
                    corpus.class_names[labels[row]],
                    _context(embedding.tokens, position) if corpus.redistributable else "",
                    embedding.vectors[:, position],
                )
            )
    return sorted(found, key=lambda point: (point.word, point.row))


def _context(words: list[str], position: int, width: int = 4) -> str:
    before, after = words[max(0, position - width) : position], words[position + 1 :][:width]
    return " ".join([*before, f"[{words[position]}]", *after])


def _nearest(vectors: Tensor, points: list[Occurrence]) -> list[str]:
    """For each point the words, classes and rows of the points nearest to it by cosine."""
    unit = functional.normalize(vectors.float(), dim=1)
    alike = unit @ unit.T
    alike.fill_diagonal_(-torch.inf)
    return [
        "; ".join(f"{points[i].word} ({points[i].label}, {points[i].row})" for i in near)
        for near in alike.topk(NEIGHBOURS).indices.tolist()
    ]
