"""Rows of a split that resemble a train row: the nearest one by the cosine of TF-IDF."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from elmo.data.corpus import Corpus, column, texts_of
from elmo.errors import check_range
from elmo.utils.cache import cached

BLOCK = 200  # rows of the split that are compared at once


class NearDuplicates(NamedTuple):
    """The M rows of a split that have a train row of a given cosine or more."""

    row: np.ndarray  # (M,) numbers of the rows in the source
    train_row: np.ndarray  # (M,) of the nearest train row, the first of equals
    agrees: np.ndarray  # (M,) whether both have the same label


def near_duplicates(corpus: Corpus, split: str, cosine: float) -> NearDuplicates:
    """Return the rows of a split that resemble a train row; row numbers are kept in the cache.

    Words are weighted by TF-IDF of the train split, with 1 + log(count); vectors have length one.

    Args:
        split: "validation" or "test".
        cosine: at least this.

    Raises:
        ConfigError: the cosine is not above 0 and at most 1.
    """
    check_range({"the cosine of near-duplicates": cosine}, above=0, at_most=1)
    name = f"{corpus.name}-{corpus.fingerprint}-{split}-{cosine:g}"

    def build(folder: Path) -> None:
        np.save(folder / "rows.npy", np.stack(_find(corpus, split, cosine)))

    found = np.load(cached(corpus.cache_dir / "near_duplicates" / name, build) / "rows.npy")
    return NearDuplicates(found[0], found[1], found[2].astype(bool))


def _find(corpus: Corpus, split: str, cosine: float) -> NearDuplicates:
    train, rows = corpus.splits["train"], corpus.splits[split]
    words = TfidfVectorizer(sublinear_tf=True)
    of_train = words.fit_transform(texts_of(train)).T.tocsr()  # (words, train rows)
    vectors = words.transform(texts_of(rows))
    nearest, largest = [], []
    for start in range(0, len(rows), BLOCK):
        cosines = (vectors[start : start + BLOCK] @ of_train).tocsr()
        nearest.append(np.asarray(cosines.argmax(1)).ravel())
        largest.append(cosines.max(1).toarray().ravel())
    at = np.flatnonzero(np.concatenate(largest) >= cosine)
    near = np.concatenate(nearest)[at]
    return NearDuplicates(
        column(rows, "row")[at],
        column(train, "row")[near],
        column(rows, "label")[at] == column(train, "label")[near],
    )
