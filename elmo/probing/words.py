"""Documents with labelled words, as every task of probing reads them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SPLITS = ("train", "validation", "test")


class Word(NamedTuple):
    """A labelled word, or a document that is labelled as a whole.

    Attributes:
        form: its word type, lower-cased, which control tasks and baselines go by.
        unit: the number of the unit of its document in which it is.
        start: its first character in the unit.
        end: the one after its last; None where the unit ends.
        labels: its label by the name of the task; tasks that leave it out are missing.
    """

    form: str
    unit: int
    start: int
    end: int | None
    labels: dict[str, str]


class Document(NamedTuple):
    """A text in units, each of which is tokenized for itself, and the labelled words in it.

    Attributes:
        units: pieces of the text in their order: words, or longer pieces between white space.
        words: in any order.
    """

    units: list[str]
    words: list[Word]


Splits = dict[str, list[Document]]  # by the names in SPLITS


def drawn(count: int, rows: int | None) -> list[int]:
    """Return `rows` of `count` numbers, drawn by a fixed seed and ascending; None takes all."""
    if rows is None or rows >= count:
        return list(range(count))
    return sorted(np.random.default_rng(0).choice(count, rows, replace=False).tolist())
