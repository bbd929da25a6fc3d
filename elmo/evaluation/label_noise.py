"""The accuracy that label noise leaves within reach, estimated from texts that are labelled twice.

Two rows of the same text were labelled twice. Where the labels are drawn independently, each is
wrong with probability e, and a text has one wrong class that it could be taken for, they disagree
with probability d = 2 e (1 - e). So e = (1 - sqrt(1 - 2 d)) / 2, about d / 2, and a classifier that
is always right agrees with a share 1 - e of the test labels. Such a text need not be as clear as
others: what is printed twice, perhaps in two sections of a paper, is labelled differently more
often. Where that is so, e is too large, and 1 - e is a lower bound of the ceiling. Labels that were
copied with the text are not independent: they make e too small.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elmo.data.corpus import Corpus, column, texts_of
from elmo.data.splitting import text_digests
from elmo.errors import DataError
from elmo.evaluation.near_duplicates import near_duplicates
from elmo.evaluation.significance import CONFIDENCE, RESAMPLES


class Disagreement(NamedTuple):
    """Pairs of labels of the same text, in G groups that are independent of one another."""

    pairs: np.ndarray  # (G,) pairs of labels in each group
    apart: np.ndarray  # (G,) of these, pairs with different labels

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self.pairs)

    @property
    def conflicting(self) -> int:
        """The groups with more than one label."""
        return int((self.apart > 0).sum())


class Ceiling(NamedTuple):
    """An estimate of the accuracy of a classifier that is always right."""

    disagreement: float  # the mean over groups of the share of pairs whose labels differ
    error: float  # the share of wrong labels
    accuracy: float  # 1 - error
    low: float  # ends of its 95 % interval, over groups
    high: float


def equal_texts(corpus: Corpus) -> Disagreement:
    """Return the disagreement among train rows with the same text, upper or lower case.

    Raises:
        DataError: no text occurs twice.
    """
    train = corpus.splits["train"]
    _, group = np.unique(text_digests(texts_of(train)), return_inverse=True)
    counts = np.zeros((group.max() + 1, len(corpus.class_names)), dtype=int)  # (texts, C)
    np.add.at(counts, (group, column(train, "label")), 1)
    counts = counts[counts.sum(1) > 1]
    if not len(counts):
        raise DataError(f"data={corpus.name}: no text occurs twice in the train split")
    pairs = _pairs(counts.sum(1))
    return Disagreement(pairs, pairs - _pairs(counts).sum(1))


def similar_texts(corpus: Corpus, split: str, cosine: float) -> Disagreement:
    """Return the disagreement between rows of a split and the train rows that they resemble.

    Rows with the same nearest train row are one group.

    Raises:
        DataError: no row resembles a train row.
    """
    found = near_duplicates(corpus, split, cosine)
    if not len(found.row):
        raise DataError(
            f"data={corpus.name}: no row of {split} has a train row with a TF-IDF cosine of "
            f"{cosine:g} or more; choose a smaller --cosine"
        )
    _, group = np.unique(found.train_row, return_inverse=True)
    return Disagreement(np.bincount(group), np.bincount(group, ~found.agrees).astype(int))


def _pairs(counts: np.ndarray) -> np.ndarray:
    return counts * (counts - 1) // 2


def ceiling(found: Disagreement, seed: int = 0) -> Ceiling:
    """Return the accuracy within reach, with an interval of a bootstrap over groups.

    Every group counts once, however large it is.
    """
    shares = found.apart / found.pairs
    kinds, sizes = np.unique(shares, return_counts=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(found.groups, sizes / found.groups, RESAMPLES) @ kinds
    outside = (1 - CONFIDENCE) / 2
    ends = np.quantile(drawn / found.groups, [1 - outside, outside])
    error = _error(shares.mean())
    return Ceiling(float(shares.mean()), error, 1 - error, *(1 - _error(end) for end in ends))


def _error(disagreement: float) -> float:
    """Return the share e of wrong labels for which 2 e (1 - e) is the disagreement; 0.5 at most."""
    return float((1 - np.sqrt(max(0.0, 1 - 2 * disagreement))) / 2)
