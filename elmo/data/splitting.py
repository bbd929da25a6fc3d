"""Which rows of the train split become validation rows: equal descriptions stay on one side."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from elmo.errors import check_range


def digests(texts: Iterable[str]) -> np.ndarray:
    """(N,) 16 bytes for each text, equal where lower-cased texts are.

    Of a thousand million different texts, two share a digest with a probability below 1e-20.
    """
    found = (hashlib.blake2b(text.lower().encode(), digest_size=16).digest() for text in texts)
    return np.frombuffer(b"".join(found), dtype="V16")


class Division(NamedTuple):
    """Positions of the rows of both splits among the train rows given, ascending; and the facts."""

    train: np.ndarray
    validation: np.ndarray
    facts: dict[str, int]


def divide(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, validation_size: int, seed: int
) -> Division:
    """Drop the train rows that stand in the test split, draw the validation rows from the others.

    Whole groups of equal descriptions go to one side, so no validation row has its equal in the
    train split. A group that does not fit any more stays in the train split.

    Args:
        train: digests of the train rows (N,).
        labels: their classes (N,).
        test: digests of the test rows.
        validation_size: rows to draw; fewer come where no more fit.
        seed: of the draw.
    """
    rows = np.flatnonzero(~np.isin(train, test))
    labels = labels[rows]
    # Groups are numbered by digest; `first` is where each appears first.
    _, first, group = np.unique(train[rows], return_index=True, return_inverse=True)
    sizes = np.bincount(group)
    repeated = sizes[sizes > 1]
    facts = {
        "train_rows_also_in_test": len(train) - len(rows),
        "repeated_descriptions": len(repeated),
        "repeated_rows": int(repeated.sum()),
        "descriptions_with_conflicting_labels": len(
            np.unique(group[labels != labels[first][group]])
        ),
    }
    drawn = np.zeros(len(sizes), dtype=bool)
    room = validation_size
    for number in np.argsort(first)[np.random.default_rng(seed).permutation(len(sizes))]:
        if sizes[number] <= room:
            drawn[number] = True
            room -= sizes[number]
        if room == 0:
            break
    in_validation = drawn[group]
    return Division(rows[~in_validation], rows[in_validation], facts)


def labelled(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Positions (N',) of the rows whose labels are used, ascending: a share of each class.

    With one seed a smaller share is part of a larger one. Rounded up: every class has a row.

    Args:
        labels: classes of all rows (N,).
        share: of the rows of each class.
        seed: of the draw.

    Raises:
        ConfigError: the share is not above 0 and at most 1.
    """
    check_range({"label_share": share}, above=0, at_most=1)
    random = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: math.ceil(share * len(rows))])
    return np.sort(np.concatenate(chosen))
