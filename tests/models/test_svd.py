from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

import elmo.models.svd
from elmo.data.corpora.toy import ToyNews
from elmo.data.text import PAD
from elmo.errors import ConfigError
from elmo.models.svd import co_occurrences, positive_pmi, svd_encoder, truncated_svd
from small_corpora import toy_news

SETTINGS: dict[str, Any] = {"dim": 8, "window": 2, "smoothing": 0.75, "exponent": 0.5, "seed": 0}


@pytest.mark.parametrize("block", [2000, 10**6])
@pytest.mark.parametrize("window", [1, 4])
def test_counts_against_a_plain_loop(
    window: int, block: int, toy: ToyNews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elmo.models.svd, "BLOCK", block)
    expected: Counter[tuple[int, int]] = Counter()
    tokenizer = toy.tokenizer
    for text in toy.splits["train"]["text"]:
        ids = tokenizer.encode([text])[0].ids[1:-1].tolist()
        for position, word in enumerate(ids):
            for other in range(max(0, position - window), min(len(ids), position + window + 1)):
                if other != position:
                    expected[word, ids[other]] += 1
    counts = co_occurrences(toy, tokenizer, window).tocoo()
    pairs = zip(*(c.tolist() for c in counts.coords), strict=True)
    assert dict(zip(pairs, counts.data, strict=True)) == expected


@pytest.mark.parametrize("smoothing", [0.0, 0.75, 1.0])
def test_pmi_against_its_definition(smoothing: float) -> None:
    counts = np.array([[0, 4, 1, 0], [4, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    total = counts.sum()
    context = np.where(counts.sum(0) > 0, counts.sum(0) ** smoothing, 0)
    expected = np.zeros_like(counts)
    for word, other in np.argwhere(counts):
        joint = counts[word, other] / total
        independent = counts[word].sum() / total * context[other] / context.sum()
        expected[word, other] = max(0, np.log(joint / independent))
    pmi = positive_pmi(csr_array(counts), smoothing)
    np.testing.assert_allclose(pmi.toarray(), expected, rtol=1e-5)
    assert (pmi.data > 0).all()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_vectors_against_a_dense_svd(exponent: float) -> None:
    random = np.random.default_rng(0)
    dense = np.where(random.random((30, 30)) < 0.4, random.random((30, 30)), 0).astype(np.float32)
    left, values, _ = np.linalg.svd(dense)
    expected = left[:, :5] * values[:5] ** exponent
    vectors = truncated_svd(csr_array(dense), 5, exponent, seed=0)
    signs = np.sign((vectors * expected).sum(0))
    np.testing.assert_allclose(vectors, expected * signs, atol=1e-4)
    other_seed = truncated_svd(csr_array(dense), 5, exponent, seed=1)
    np.testing.assert_allclose(other_seed, vectors, atol=1e-4)  # with the same signs


def test_the_encoder_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = toy_news(tmp_path)
    first = svd_encoder(corpus, **SETTINGS)
    weight = first.embedding.table.weight
    assert (first.num_layers, first.dim) == (1, 8)
    assert not weight[PAD].any()
    assert weight[PAD + 1].any()  # <unk> is a word
    assert not weight.requires_grad
    monkeypatch.setattr(elmo.models.svd, "co_occurrences", lambda *_: pytest.fail("counted again"))
    again = svd_encoder(corpus, **SETTINGS)
    assert torch.equal(again.embedding.table.weight, weight)


def test_words_in_similar_contexts_are_near(toy: ToyNews) -> None:
    encoder = svd_encoder(toy, **{**SETTINGS, "dim": 32})
    words = encoder.tokenizer.words
    vectors = torch.nn.functional.normalize(encoder.embedding.table.weight, dim=1)
    days = {f"{day}day" for day in ("mon", "tues", "wednes", "thurs", "fri", "satur", "sun")}
    known = days & set(words)
    assert len(known) > 3
    cosines = vectors[words.index(min(known, key=words.index))] @ vectors.T
    best = {words[index] for index in cosines.topk(8).indices.tolist()}
    assert len(best & known) > 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("dim", 0), ("dim", 10**6), ("window", 0), ("smoothing", 1.5), ("exponent", -0.1)],
)
def test_numbers_out_of_range_are_refused(name: str, value: float, toy: ToyNews) -> None:
    with pytest.raises(ConfigError, match=rf"encoder\.{name} is {value}"):
        svd_encoder(toy, **{**SETTINGS, name: value})
