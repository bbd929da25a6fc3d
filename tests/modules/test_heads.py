from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import pad

from elmo.errors import ConfigError
from elmo.modules.heads import AttentionHead, BiLSTMHead, Head, PoolHead, pool

HEADS = (PoolHead, BiLSTMHead, AttentionHead)
MASK = torch.tensor([[True] * 5, [True, True, True, False, False]])


@pytest.fixture
def embeddings() -> torch.Tensor:
    return torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", HEADS)
def test_padding_has_no_influence(kind: Callable[..., Head], embeddings: torch.Tensor) -> None:
    torch.manual_seed(0)
    head = kind(8, 4).eval()
    logits = head(embeddings, MASK)
    assert logits.shape == (2, 4)
    changed = embeddings.masked_fill(~MASK.unsqueeze(-1), 1e4)
    torch.testing.assert_close(head(changed, MASK), logits)
    torch.testing.assert_close(head(pad(embeddings, (0, 0, 0, 9)), pad(MASK, (0, 9))), logits)


def test_pool_against_each_document_alone(embeddings: torch.Tensor) -> None:
    pooled = pool(embeddings - 5, MASK)  # all negative: a zero from padding would be the maximum
    for row, length in enumerate([5, 3]):
        real = embeddings[row, :length] - 5
        torch.testing.assert_close(pooled[row], torch.cat([real.amax(0), real.mean(0)]))


def test_bilstm_head_depends_on_the_order_of_tokens(embeddings: torch.Tensor) -> None:
    torch.manual_seed(0)
    head, pool_head = BiLSTMHead(8, 4).eval(), PoolHead(8, 4).eval()
    full = torch.ones(2, 5, dtype=torch.bool)
    torch.testing.assert_close(pool_head(embeddings.flip(1), full), pool_head(embeddings, full))
    assert not torch.allclose(head(embeddings.flip(1), full), head(embeddings, full), atol=1e-4)


@pytest.mark.parametrize("kind", HEADS)
def test_overfits_one_batch(kind: Callable[..., Head], embeddings: torch.Tensor) -> None:
    torch.manual_seed(0)
    head = kind(8, 4)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    labels = torch.tensor([2, 0])
    for _ in range(80):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(embeddings, MASK), labels).backward()
        optimizer.step()
    assert head.eval()(embeddings, MASK).argmax(1).tolist() == [2, 0]


@pytest.mark.parametrize("kind", HEADS)
def test_impossible_settings_are_refused(kind: Callable[..., Head]) -> None:
    with pytest.raises(ConfigError, match="hidden_dim"):
        kind(8, 4, hidden_dim=0)
    with pytest.raises(ConfigError, match="dropout"):
        kind(8, 4, dropout=1.0)


def test_attention_against_each_document_alone(embeddings: torch.Tensor) -> None:
    torch.manual_seed(0)
    head = AttentionHead(8, 4, hidden_dim=6, attentions=2).eval()
    logits = head(embeddings, MASK)
    for row, length in enumerate([5, 3]):
        states = head.token(embeddings[row, :length])  # (T, H)
        weights = head.score(states).softmax(0)  # (T, 2)
        attended = [(weights[:, [k]] * states).sum(0) for k in range(2)]
        expected = head.output(torch.cat([*attended, states.amax(0)]))
        torch.testing.assert_close(logits[row], expected)


def test_a_head_without_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"head.attentions is 0"):
        AttentionHead(8, 4, attentions=0)


@pytest.mark.parametrize("kind", HEADS)
def test_dropped_tokens_have_no_influence(
    kind: Callable[..., Head], embeddings: torch.Tensor
) -> None:
    torch.manual_seed(0)
    head = kind(8, 4, dropout=0.0, token_dropout=0.5).train()
    torch.manual_seed(1)
    kept = head.thinned(MASK)
    assert kept[:, 0].all()
    assert not kept[~MASK].any()
    assert 2 < kept.sum() < MASK.sum()
    torch.manual_seed(1)
    logits = head(embeddings, MASK)
    assert not torch.allclose(logits, head.eval()(embeddings, MASK))
    if kind is not BiLSTMHead:  # whose states have read the dropped tokens
        torch.testing.assert_close(logits, head(embeddings, kept))
    with pytest.raises(ConfigError, match="token_dropout is 1"):
        kind(8, 4, token_dropout=1.0)
