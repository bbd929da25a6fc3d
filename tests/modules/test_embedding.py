from __future__ import annotations

import pytest
import torch

from elmo.data.corpora.toy import ToyNews
from elmo.data.text import PAD
from elmo.errors import ConfigError
from elmo.models.embedding_starts import RandomStart
from elmo.modules.bilm import BiLM
from elmo.modules.embedding import TokenEmbedding

TOKENS = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
LENGTHS = torch.tensor([4, 3])


def step(bilm: BiLM) -> None:
    """Take one large training step on an arbitrary loss."""
    optimizer = torch.optim.SGD(bilm.parameters(), lr=10.0)
    bilm(TOKENS, LENGTHS).square().sum().backward()
    optimizer.step()


def test_padding_is_zero_and_words_are_not() -> None:
    embedding = TokenEmbedding(40, 6)
    vectors = embedding(TOKENS)
    assert vectors.shape == (2, 4, 6)
    assert torch.equal(vectors.any(dim=-1), TOKENS != PAD)


@pytest.mark.parametrize("freeze", [False, True])
def test_random_vectors_are_trained_unless_frozen(freeze: bool, bilm: BiLM, toy: ToyNews) -> None:
    assert isinstance(bilm.embedding, TokenEmbedding)
    before = bilm.embedding.table.weight.clone()
    assert RandomStart(dim=6, freeze=freeze).apply(bilm.embedding, toy, toy.tokenizer) == {}
    assert torch.equal(bilm.embedding.table.weight, before)
    step(bilm)
    weight = bilm.embedding.table.weight
    assert torch.equal(weight, before) == freeze
    # Training changes neither padding nor words outside of the batch.
    assert not weight[PAD].any()
    assert torch.equal(weight[10:], before[10:])


def test_freezing_the_embedding_freezes_nothing_else(bilm: BiLM, toy: ToyNews) -> None:
    RandomStart(dim=6, freeze=True).apply(bilm.embedding, toy, toy.tokenizer)
    frozen = {name for name, weight in bilm.named_parameters() if not weight.requires_grad}
    assert frozen == {"embedding.table.weight"}


@pytest.mark.parametrize("dim", [0, -1])
def test_an_impossible_width_is_refused(dim: int) -> None:
    with pytest.raises(ConfigError, match=rf"embedding\.dim is {dim}"):
        RandomStart(dim=dim, freeze=False)
