from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo.data.batches import Batch, text_batches
from elmo.data.text import WordTokenizer
from elmo.errors import ConfigError
from elmo.models.encoders import ElmoEncoder, SideBySideEncoder
from elmo.modules.bilm import BiLM

TEXTS = ["The bank raised its rates.", "", "the river left its bank!", "nothing known here"]


def test_embed_gives_words_and_layers_without_boundaries(encoder: ElmoEncoder) -> None:
    results = encoder.embed(TEXTS)
    assert [len(result.tokens) for result in results] == [6, 0, 6, 3]
    assert results[0].tokens == ["The", "bank", "raised", "its", "rates", "."]
    for result in results:
        assert result.vectors.shape == (3, len(result.tokens), 16)
        assert result.vectors.dtype == torch.float32


@pytest.mark.parametrize("budget", [1, 9, 10_000])
def test_embedding_does_not_depend_on_the_batch(encoder: ElmoEncoder, budget: int) -> None:
    together = encoder.embed(TEXTS, token_budget=budget)
    for text, result in zip(TEXTS, together, strict=True):
        (alone,) = encoder.embed([text])
        assert alone.tokens == result.tokens
        torch.testing.assert_close(alone.vectors, result.vectors, rtol=0, atol=1e-6)


def test_the_shortest_text_comes_first_and_holds_no_other_vectors(encoder: ElmoEncoder) -> None:
    results = list(encoder.embed_by_length(TEXTS, token_budget=16))
    assert [row for row, _ in results] == [1, 3, 0, 2]
    for _, (_, vectors) in results:
        assert vectors.untyped_storage().nbytes() == vectors.nbytes


def test_a_word_has_another_vector_in_another_context(encoder: ElmoEncoder) -> None:
    first, _, second, _ = encoder.embed(TEXTS)
    vectors = first.vectors[:, first.tokens.index("bank")]  # (L, D)
    others = second.vectors[:, second.tokens.index("bank")]
    torch.testing.assert_close(vectors[0], others[0])
    assert not torch.allclose(vectors[1], others[1], atol=1e-4)


def test_embed_matches_the_layers_of_the_bilm(encoder: ElmoEncoder) -> None:
    (document,) = encoder.tokenizer.encode([TEXTS[0]])
    ids = torch.from_numpy(document.ids).long().unsqueeze(0)
    layers = encoder.bilm(ids, torch.tensor([ids.shape[1]]))
    torch.testing.assert_close(encoder.embed(TEXTS[:1])[0].vectors, layers[:, 0, 1:-1])


def test_nothing_to_embed(encoder: ElmoEncoder) -> None:
    assert encoder.embed([]) == []


def test_texts_have_to_be_a_list_of_strings(encoder: ElmoEncoder) -> None:
    with pytest.raises(ConfigError, match="texts is a string"):
        encoder.embed("the bank")
    with pytest.raises(ConfigError, match=r"texts\[1\] is of type NoneType"):
        encoder.embed(["the bank", None])  # type: ignore[list-item]


def test_a_model_can_be_trained_on_the_vectors(encoder: ElmoEncoder) -> None:
    layer = torch.nn.Linear(16, 2)
    layer(encoder.embed(["the bank"])[0].vectors).sum().backward()
    assert layer.weight.grad is not None


def test_raw_text_is_cleaned(encoder: ElmoEncoder) -> None:
    raw, clean = encoder.embed(
        ["the &lt;b&gt;bank&lt;/b&gt; raised\\its rates.", "the bank raised its rates."]
    )
    assert raw.tokens == clean.tokens
    torch.testing.assert_close(raw.vectors, clean.vectors)


@settings(max_examples=25)
@given(st.lists(st.text(max_size=30), max_size=5), st.integers(1, 40))
def test_each_text_is_batched_once(texts: list[str], budget: int) -> None:
    tokenizer = WordTokenizer.train(["a b c"], min_count=1, max_size=None)
    batched: list[int] = []
    for documents, batch in text_batches(texts, tokenizer, budget):
        rows = batch.row.tolist()
        batched += rows
        assert len(documents) == len(rows)
        assert len(rows) == 1 or batch.tokens.numel() <= budget
        assert batch.lengths.tolist() == [len(document.ids) for document in documents]
    assert sorted(batched) == list(range(len(texts)))


def test_a_frozen_encoder_stays_in_eval_mode_without_gradients(encoder: ElmoEncoder) -> None:
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    ids = torch.tensor([[2, 4, 5, 3]])
    batch = Batch(ids, torch.tensor([4]), torch.tensor([0]), torch.tensor([0]))
    assert not encoder(batch).requires_grad


def two_bilms() -> list[ElmoEncoder]:
    tokenizer = WordTokenizer.train(TEXTS, min_count=1, max_size=None)
    torch.manual_seed(0)
    return [ElmoEncoder(tokenizer, BiLM(len(tokenizer), 6, width)) for width in (8, 4)]


def test_side_by_side_every_layer_is_that_of_each_bilm() -> None:
    parts = two_bilms()
    both = SideBySideEncoder(parts)
    assert (both.num_layers, both.dim) == (3, 24)
    for found, one, other in zip(both.embed(TEXTS), *(p.embed(TEXTS) for p in parts), strict=True):
        assert torch.equal(found.vectors, torch.cat([one.vectors, other.vectors], -1))
    assert not any(parameter.requires_grad for parameter in both.parameters())


def test_bilms_that_do_not_fit_are_not_put_side_by_side(encoder: ElmoEncoder) -> None:
    first, second = two_bilms()
    with pytest.raises(ConfigError, match="number 2 has"):
        SideBySideEncoder([first, encoder])
    deep = ElmoEncoder(first.tokenizer, BiLM(len(first.tokenizer), 6, 8, num_layers=3))
    with pytest.raises(ConfigError, match=r"number of layers 3, number 3 has 4"):
        SideBySideEncoder([first, second, deep])
    with pytest.raises(ConfigError, match="names 1 biLM"):
        SideBySideEncoder([first])
