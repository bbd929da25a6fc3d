"""Selections of train rows: the validation split, and the rows with labels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from elmo.errors import check_range


def text_digests(texts: Iterable[str]) -> np.ndarray:
    """Return a digest of 16 bytes for each text (N,); equal lower-cased texts have equal digests.

    The probability that any two of 10^9 different texts share a digest is below 1e-20.
    """
    digests = (hashlib.blake2b(text.lower().encode(), digest_size=16).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="V16")


class TrainValidationSplit(NamedTuple):
    """The result of `train_validation_split`.

    Attributes:
        train: positions of the rows that stay in the train split, ascending.
        validation: positions of the validation rows, ascending.
        facts: numbers of dropped, repeated and conflicting rows.
    """

    train: np.ndarray
    validation: np.ndarray
    facts: dict[str, int]


def train_validation_split(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    validation_size: int,
    seed: int,
    blocks: int | None = None,
) -> TrainValidationSplit:
    """Drop the train rows that are in the test split, and draw validation rows from the others.

    No validation row has an equal one in the train split. Without blocks, a group of equal
    descriptions stays together; a group that is too large for the remaining validation rows stays
    in the train split. With blocks, the equal rows elsewhere are dropped and counted.

    Args:
        train: digests of the train rows (N,).
        labels: their classes (N,).
        test: digests of the test rows.
        validation_size: rows to draw; fewer are drawn if no further group fits.
        seed: of the draw.
        blocks: number of blocks of consecutive rows to draw instead of single rows, of equal
            length up to one row; None draws single rows.
    """
    rows = np.flatnonzero(~np.isin(train, test))
    labels = labels[rows]
    # Groups are numbered by digest; `first` is the first position of each.
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
    if blocks is not None:
        in_validation = _in_blocks(len(rows), validation_size, blocks, seed)
        repeats = ~in_validation & np.isin(group, group[in_validation])
        facts["train_rows_also_in_validation"] = int(repeats.sum())
        return TrainValidationSplit(rows[~in_validation & ~repeats], rows[in_validation], facts)
    drawn = np.zeros(len(sizes), dtype=bool)
    room = validation_size
    for number in np.argsort(first)[np.random.default_rng(seed).permutation(len(sizes))]:
        if sizes[number] <= room:
            drawn[number] = True
            room -= sizes[number]
        if room == 0:
            break
    in_validation = drawn[group]
    return TrainValidationSplit(rows[~in_validation], rows[in_validation], facts)


def _in_blocks(count: int, size: int, blocks: int, seed: int) -> np.ndarray:
    """Return a mask (count,) of `size` rows in `blocks` runs at random places."""
    mask = np.zeros(count, dtype=bool)
    if size > count:
        return ~mask
    blocks = min(blocks, size)
    lengths = np.full(blocks, size // blocks) + (np.arange(blocks) < size % blocks)
    # A block that shrinks to a row is one of the places that are left; all are equally likely.
    places = np.random.default_rng(seed).choice(count - size + blocks, blocks, replace=False)
    starts = np.sort(places) + np.concatenate([[0], np.cumsum(lengths - 1)[:-1]])
    for start, length in zip(starts, lengths, strict=True):
        mask[start : start + length] = True
    return mask


def stratified_sample(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a share of the rows of each class, to use their labels.

    With the same seed, a smaller sample is part of a larger one. The number of rows is rounded up,
    so that every class has at least one.

    Args:
        labels: classes of all rows (N,).
        share: of the rows of each class.
        seed: of the draw.

    Returns:
        The positions of the rows that were drawn (N',), ascending.

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
