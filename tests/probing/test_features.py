from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from elmo.models.encoders import ElmoEncoder
from elmo.probing import features
from elmo.probing.features import word_features
from elmo.probing.words import Document, Word


def word(unit: int, start: int = 0, end: int | None = None) -> Word:
    return Word("", unit, start, end, {})


def test_vectors_are_normalised_means_over_the_tokens_of_a_word(encoder: ElmoEncoder) -> None:
    units = ["the", "bank's", "river", "bank."]
    document = Document(units, [word(3), word(0), word(1), word(1, 4, 6), word(1, 0, 4)])
    short = Document(["bank"], [word(0)])
    found = word_features(encoder, [document, short])
    tokens = ["the", "bank", "'s", "river", "bank", "."]
    (long, one) = encoder.embed([tokens, ["bank"]])
    expected = [
        long.vectors[:, 4:6].mean(1),
        long.vectors[:, 0],
        long.vectors[:, 1:3].mean(1),
        long.vectors[:, 2],
        long.vectors[:, 1],
        one.vectors[:, 0],
    ]
    raw = torch.stack(expected, 1)  # (L, N, D)
    torch.testing.assert_close(
        found.vectors.float(), functional.layer_norm(raw, (encoder.dim,)), atol=2e-3, rtol=2e-3
    )
    torch.testing.assert_close(torch.tensor(found.norms), raw.norm(dim=-1).mean(1))
    assert found.without_token == 0
    assert found.size == 2 * encoder.num_layers * 6 * encoder.dim


def test_words_that_the_tokenizer_cleans_away_are_zeros_and_counted(encoder: ElmoEncoder) -> None:
    document = Document(["the", "\u200b", "bank"], [word(0), word(1), word(2)])
    found = word_features(encoder, [document])
    assert found.without_token == 1
    assert not found.vectors[:, 1].any()
    (plain,) = encoder.embed([["the", "bank"]])
    normal = functional.layer_norm(plain.vectors, (encoder.dim,))
    torch.testing.assert_close(found.vectors[:, [0, 2]].float(), normal, atol=2e-3, rtol=2e-3)


def test_a_character_that_is_several_tokens(encoder: ElmoEncoder) -> None:
    found = word_features(encoder, [Document(["½", "bank"], [word(0), word(1)])])
    assert found.without_token == 0
    assert found.vectors.any(-1).all()


def test_documents_without_words(encoder: ElmoEncoder) -> None:
    documents = [Document([], []), Document(["bank"], []), Document(["bank"], [word(0)])]
    assert word_features(encoder, documents).vectors.shape == (3, 1, encoder.dim)


def test_large_vectors_lie_in_a_file(encoder: ElmoEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    document = Document(["the", "bank"], [word(0), word(1)])
    expected = word_features(encoder, [document]).vectors
    monkeypatch.setattr(features, "IN_MEMORY", 0)
    assert torch.equal(word_features(encoder, [document]).vectors, expected)
