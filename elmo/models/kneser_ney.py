"""An n-gram language model with interpolated, modified Kneser-Ney smoothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from elmo.errors import check_range

log = logging.getLogger(__name__)

# Where a corpus is too small to estimate discounts: those of KenLM's `--discount_fallback`.
FALLBACK = (0.5, 1.0, 1.5)


class KneserNey:
    """p_n(w | h) = (a(h w) - D(a(h w))) / a(h) + gamma(h) p_{n-1}(w | h without its first word).

    a(h w) is the count of an n-gram at the highest order, and below it the number of different
    words before it (Chen and Goodman 1999, section 3). An n-gram that begins with the first mark
    of a document has no word before it and keeps its count (Heafield et al. 2013, section 3.1). D
    is one of three discounts, for counts of 1, 2, and 3 or more; a(h) is the sum of a(h w) over w,
    and gamma(h) what the discounts leave over. p_0 is 1/V, so that the model sums to one over all
    V words, like the softmax of a biLM.

    Args:
        order: words of an n-gram, at most; 1 ignores the history.
        vocab_size: V; ids are from 0 to V - 1.

    Raises:
        ConfigError: `order` is less than 1.
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        check_range({"ngram.order": order}, at_least=1)
        self.order = order
        self.vocab_size = vocab_size
        # Of each order: the n-grams, ascending, as (number of the history) * V + word; the first
        # summand of their probability; and of each history the weight of the lower order.
        self.keys: list[np.ndarray] = []
        self.shares: list[np.ndarray] = []
        self.weights: list[np.ndarray] = []

    @property
    def sizes(self) -> list[int]:
        """The number of different n-grams of each order, from 1."""
        return [len(keys) for keys in self.keys]

    def fit(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Count the n-grams of documents; none of them goes beyond a document.

        Args:
            tokens: the ids of all documents, one after another (T,). The first of a document is
                only history, never predicted.
            lengths: the number of tokens of each document.
        """
        place = _places(lengths)  # (T,)
        histories = 1  # how many there are; the empty one is number 0
        history = np.zeros(len(tokens), dtype=np.int64)  # (T,), -1 where the document is too short
        counted: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        firsts: list[np.ndarray] = []  # where each n-gram of an order occurs first
        self.keys = []
        for number in range(1, self.order + 1):
            there = np.flatnonzero(history >= 0)
            keys, first, gram_there, counts = np.unique(
                history[there] * self.vocab_size + tokens[there],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            gram = np.full(len(tokens), -1)
            gram[there] = gram_there
            begins = np.zeros(len(keys), dtype=bool)
            begins[gram[place == number - 1]] = True
            if number == 1:
                counts[begins] = 0
            counted.append((counts, begins, gram))
            firsts.append(there[first])
            self.keys.append(keys)
            history = _after(gram, place)
        self.shares, self.weights = [], []
        for number, (keys, (counts, begins, gram)) in enumerate(
            zip(self.keys, counted, strict=True), start=1
        ):
            if number < self.order:
                before = np.bincount(gram[firsts[number]], minlength=len(keys))
                counts = np.where(begins, counts, before)
            of_history = keys // self.vocab_size
            discount = np.array([0.0, *discounts(counts, number)])[np.minimum(counts, 3)]
            total = np.bincount(of_history, counts, histories)
            with np.errstate(invalid="ignore"):  # a history that nothing follows
                left = np.bincount(of_history, discount, histories) / total
            self.weights.append(np.where(total > 0, left, 1.0))
            self.shares.append((counts - discount) / np.maximum(total, 1)[of_history])
            histories = len(keys)

    def nll(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the negative log-likelihoods in nats of all tokens but the first of documents.

        Args:
            tokens: the ids of all documents, one after another (T,).
            lengths: the number of tokens of each document (N,).

        Returns:
            (T - N,), in the order of the tokens.
        """
        place = _places(lengths)  # (T,)
        history = np.zeros(len(tokens), dtype=np.int64)
        probability = np.full(len(tokens), 1 / self.vocab_size)
        for keys, shares, weights in zip(self.keys, self.shares, self.weights, strict=True):
            probability *= np.where(history >= 0, weights[history], 1.0)
            wanted = history * self.vocab_size + tokens
            found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            known = (history >= 0) & (keys[found] == wanted)
            probability[known] += shares[found[known]]
            history = _after(np.where(known, found, -1), place)
        return -np.log(probability[place > 0])


def _places(lengths: np.ndarray) -> np.ndarray:
    """Return the position of each token in its document (T,)."""
    starts = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) - np.repeat(starts, lengths)


def _after(gram: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return for each token the number of the n-gram that ends before it (T,); -1 for none."""
    return np.where(place > 0, np.roll(gram, 1), -1)


def discounts(counts: np.ndarray, order: int) -> tuple[float, ...]:
    """Return D_1, D_2 and D_3 of the counts of one order (Chen and Goodman 1999, section 3).

    D_k = k - (k + 1) Y n_{k+1} / n_k with Y = n_1 / (n_1 + 2 n_2), where n_k n-grams have count k.
    A corpus too small for that gets `FALLBACK`, and a warning.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    if n[1:4].all():
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))
        if min(found) >= 0:
            return found
    log.warning(
        "%d-grams: %s occur 1, 2, 3 and 4 times, too few to estimate discounts; %s are taken",
        order,
        ", ".join(f"{count:.0f}" for count in n[1:5]),
        ", ".join(map(str, FALLBACK)),
    )
    return FALLBACK


def both_directions(
    tokens: np.ndarray, lengths: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the documents as they are, and from the last token to the first."""
    yield tokens, lengths
    yield tokens[::-1], lengths[::-1]
