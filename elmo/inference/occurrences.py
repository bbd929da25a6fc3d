"""Occurrences of words in documents: where they are, their vectors, how near they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from elmo.data.text import UNK
from elmo.models.encoders import Encoder

DIGITS = 5  # of a cosine: single precision cannot distinguish what is closer
ROUNDING = 1e-5  # of the length of vectors in single precision


class Occurrence(NamedTuple):
    """A word in a document."""

    word: str  # lower-cased
    document: int  # its position among the documents
    position: int  # among the tokens of the document, without <s> and </s>
    label: int  # class of the document


def find_occurrences(
    encoder: Encoder, texts: Sequence[str], labels: Sequence[int], words: Collection[str]
) -> list[Occurrence]:
    """Return the first occurrence of each word in each document, in the order of the documents.

    Words that are unknown to the encoder are skipped. Of equal documents the first one counts: the
    others would be its nearest.

    Args:
        encoder: its tokenizer says what a word is.
        texts: the documents, cleaned.
        labels: the class of each document.
        words: lower-cased.
    """
    found = []
    seen: set[str] = set()
    all_known = encoder.tokenizer.reads_characters
    for document, tokenized in enumerate(encoder.tokenizer.encode(texts)):
        if texts[document].lower() in seen:
            continue
        seen.add(texts[document].lower())
        first: dict[str, int] = {}
        for position, (word, index) in enumerate(
            zip(tokenized.words, tokenized.ids[1:-1], strict=True)
        ):
            if word.lower() in words and (all_known or index != UNK):
                first.setdefault(word.lower(), position)
        found += [
            Occurrence(word, document, position, labels[document])
            for word, position in first.items()
        ]
    return found


def occurrence_vectors(
    encoder: Encoder, texts: Sequence[str], occurrences: Sequence[Occurrence]
) -> Tensor:
    """Return the layers of N occurrences (L, N, D), in single precision on the CPU."""
    documents = sorted({occurrence.document for occurrence in occurrences})
    embedded = encoder.embed([texts[document] for document in documents])
    vectors = dict(zip(documents, (one.vectors for one in embedded), strict=True))
    return torch.stack([vectors[o.document][:, o.position] for o in occurrences], dim=1)


def cosines(vectors: Tensor) -> Tensor:
    """Return the cosine of every pair in each layer: (L, N, D) -> (L, N, N), rounded.

    The diagonal is -2: nothing is its own neighbour.
    """
    unit = functional.normalize(vectors.float(), dim=-1).double()
    found = (unit @ unit.transpose(1, 2)).round(decimals=DIGITS)
    found.diagonal(dim1=1, dim2=2).fill_(-2.0)
    return found


def principal_plane(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Project the vectors of each layer on their two first principal components.

    Args:
        vectors: (L, N, D).

    Returns:
        Coordinates (L, N, 2), whose largest in size is positive on each axis so that they do not
        depend on a library's choice of sign, and the share of the variance on each axis (L, 2);
        both zero where there are not as many components.
    """
    centred = (vectors - vectors.mean(1, keepdim=True)).double()
    u, sizes, _ = torch.linalg.svd(centred, full_matrices=False)  # (L, N, K), (L, K)
    # What rounding leaves of equal vectors is no direction.
    sizes = sizes * (sizes > ROUNDING * vectors.norm(dim=(1, 2)).unsqueeze(1))
    places = functional.pad((u * sizes.unsqueeze(1))[..., :2], (0, max(0, 2 - sizes.shape[1])))
    largest = places.gather(1, places.abs().argmax(1, keepdim=True))  # (L, 1, 2)
    places = places * largest.sign()
    variance = functional.pad(sizes.square(), (0, max(0, 2 - sizes.shape[1])))
    share = variance[:, :2] / variance.sum(1, keepdim=True).clamp_min(1e-12)
    return places.float(), share.float()
