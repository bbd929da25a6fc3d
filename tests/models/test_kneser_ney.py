from __future__ import annotations

import itertools
import logging
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from elmo.errors import ConfigError
from elmo.models.kneser_ney import FALLBACK, KneserNey, both_directions, discounts

BOS, EOS = 0, 1
V = 60
Documents = list[list[int]]


def flat(documents: Documents) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(document) for document in documents])
    return np.array(list(itertools.chain(*documents)), dtype=np.int32), lengths


def random_documents(seed: int, count: int = 100) -> Documents:
    """Documents with frequent and rare words, so that every count from 1 to 4 occurs."""
    random = np.random.default_rng(seed)
    weights = np.arange(1, V - 1) ** -1.5
    return [
        [BOS, *(2 + random.choice(V - 2, random.integers(0, 9), p=weights / weights.sum())), EOS]
        for _ in range(count)
    ]


def fitted(order: int, documents: Documents) -> KneserNey:
    model = KneserNey(order, V)
    model.fit(*flat(documents))
    return model


def probabilities(model: KneserNey, history: list[int]) -> np.ndarray:
    """The distribution (V,) after a history."""
    nll = model.nll(*flat([[*history, word] for word in range(V)]))
    return np.exp(-nll.reshape(V, len(history))[:, -1])


class Reference:
    """The formulas of Chen and Goodman (1999), word by word, with sets and dictionaries."""

    def __init__(self, order: int, documents: Documents) -> None:
        self.order = order
        raw: Counter[tuple[int, ...]] = Counter()
        before = defaultdict(set)
        for document, n in itertools.product(documents, range(1, order + 1)):
            for end in range(n, len(document) + 1):
                gram = tuple(document[end - n : end])
                raw[gram] += 1
                before[gram[1:]].add(gram[0])
        self.counts = {
            gram: count if len(gram) == order or gram[0] == BOS else len(before[gram])
            for gram, count in raw.items()
            if gram != (BOS,)
        }
        self.discounts = {}
        for n in range(1, order + 1):
            sizes = Counter(count for gram, count in self.counts.items() if len(gram) == n)
            y = sizes[1] / (sizes[1] + 2 * sizes[2])
            found = [k - (k + 1) * y * sizes[k + 1] / sizes[k] for k in (1, 2, 3)]
            assert min(found) > 0
            self.discounts[n] = [0, *found]

    def __call__(self, history: tuple[int, ...], word: int) -> float:
        if len(history) >= self.order:
            history = history[len(history) - self.order + 1 :]
        lower = self(history[1:], word) if history else 1 / V
        discount = self.discounts[len(history) + 1]
        followers = [
            count
            for gram, count in self.counts.items()
            if len(gram) == len(history) + 1 and gram[:-1] == history
        ]
        if not followers:
            return lower
        count = self.counts.get((*history, word), 0)
        left = sum(discount[min(count, 3)] for count in followers)
        return (count - discount[min(count, 3)] + left * lower) / sum(followers)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_equals_the_formulas(order: int) -> None:
    train, test = random_documents(0), random_documents(1, count=8)
    reference = Reference(order, train)
    expected = [
        -math.log(reference(tuple(document[:end]), document[end]))
        for document in test
        for end in range(1, len(document))
    ]
    np.testing.assert_allclose(fitted(order, train).nll(*flat(test)), expected, rtol=1e-10)


def test_a_bigram_model_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents "a b" and "a c", all discounts 1/2."""
    monkeypatch.setattr("elmo.models.kneser_ney.discounts", lambda *_: (0.5, 0.5, 0.5))
    a, b, c = 2, 3, 4
    model = fitted(2, [[BOS, a, b, EOS], [BOS, a, c, EOS]])
    # Of the 5 different bigrams 2 end with </s>; a, b and c are at the end of one each.
    left = 4 * 0.5 / 5 / V
    unigrams = {EOS: 1.5 / 5 + left, a: 0.5 / 5 + left, b: 0.5 / 5 + left, BOS: left, 9: left}
    after_a = probabilities(model, [BOS, a])
    for word, unigram in unigrams.items():
        assert after_a[word] == pytest.approx((0.5 / 2 if word == b else 0) + 0.5 * unigram)
    start = probabilities(model, [BOS])
    assert start[a] == pytest.approx(1.5 / 2 + 0.25 * unigrams[a])


@pytest.mark.parametrize("order", [1, 2, 4])
def test_sums_to_one_after_any_history(order: int) -> None:
    model = fitted(order, random_documents(0))
    random = np.random.default_rng(2)
    for length in [1, 2, 3, 5] * 5:
        history = [BOS, *random.integers(2, V, length - 1)]
        assert probabilities(model, history).sum() == pytest.approx(1, abs=1e-12)
    assert probabilities(model, [BOS, 4]).min() > 0


def test_a_word_depends_on_the_words_before_it_in_its_document_alone() -> None:
    model = fitted(3, random_documents(0))
    document = [BOS, 2, 3, 4, 5, EOS]
    nll = model.nll(*flat([document]))
    for place in range(1, len(document)):
        later = [*document[: place + 1], *[6] * (len(document) - place - 1)]
        changed = model.nll(*flat([[BOS, 7, 8, 2, EOS], later, [BOS, 9, EOS]]))[4:]
        assert changed[:place].tolist() == nll[:place].tolist()


def test_the_window_ends_at_the_order() -> None:
    model = fitted(3, random_documents(0))
    assert np.array_equal(
        probabilities(model, [BOS, 2, 3, 4]), probabilities(model, [BOS, 5, 3, 4])
    )
    assert not np.array_equal(probabilities(model, [BOS, 3, 4]), probabilities(model, [BOS, 3, 5]))


def test_backward_is_forward_on_reversed_documents() -> None:
    documents = random_documents(3, count=5)
    tokens, lengths = list(both_directions(*flat(documents)))[1]
    ends = np.cumsum(lengths)
    found = [tokens[end - size : end].tolist() for end, size in zip(ends, lengths, strict=True)]
    assert found == [document[::-1] for document in documents[::-1]]


def test_more_history_helps_on_text_with_structure() -> None:
    random = np.random.default_rng(0)

    def document() -> list[int]:
        words = [BOS, int(random.integers(2, V))]
        for _ in range(10):  # the next word nearly follows from the last two
            step = 1 if random.random() < 0.9 else int(random.integers(1, 8))
            words.append(2 + (words[-1] + words[-2] + step) % (V - 2))
        return [*words, EOS]

    train, test = [document() for _ in range(400)], [document() for _ in range(50)]
    losses = [fitted(order, train).nll(*flat(test)).mean() for order in (1, 2, 3)]
    assert losses[2] < losses[1] < losses[0] < math.log(V)


def test_too_few_counts_for_discounts_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="elmo.models.kneser_ney"):
        assert discounts(np.array([1, 1, 1, 2, 2, 5]), 3) == FALLBACK
    assert "3-grams: 3, 2, 0, 0 occur" in caplog.text


def test_an_order_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ngram\.order is 0"):
        KneserNey(0, V)
