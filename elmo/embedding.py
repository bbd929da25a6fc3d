"""The input of the biLM: a table of token vectors, and the ways it can start."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from elmo.corpora import Corpus
from elmo.errors import ConfigError
from elmo.text import PAD, WordTokenizer


class TokenEmbedding(nn.Module):
    """A vector for each entry of the vocabulary: `forward(tokens (B, T)) -> (B, T, E)`.

    Args:
        vocab_size: V.
        dim: E.
    """

    def __init__(self, vocab_size: int, dim: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.dim = dim
        self.table = nn.Embedding(vocab_size, dim, padding_idx=PAD)
        nn.init.normal_(self.table.weight, std=0.1)
        with torch.no_grad():
            self.table.weight[PAD] = 0

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table(tokens)


class EmbeddingStart(ABC):
    """How the token vectors of a biLM start, and whether training changes them.

    Args:
        dim: E, width of a token vector; the biLM maps it to its own width where they differ.
        freeze: keep the vectors as they start.
    """

    def __init__(self, dim: int, freeze: bool) -> None:
        if dim < 1:
            raise ConfigError(f"embedding.dim is {dim}; expected 1 or more")
        self.dim = dim
        self.freeze = freeze

    def apply(self, embedding: TokenEmbedding, corpus: Corpus, tokenizer: WordTokenizer) -> dict:
        """Fill the table in place; returns what the run's record should say of it."""
        record = self.fill(embedding.table.weight.data, corpus, tokenizer)
        embedding.requires_grad_(not self.freeze)
        return record

    @abstractmethod
    def fill(self, weight: Tensor, corpus: Corpus, tokenizer: WordTokenizer) -> dict:
        """Overwrite the vectors in `weight` (V, E) that this way of starting knows."""


class RandomStart(EmbeddingStart):
    """The small random vectors that `TokenEmbedding` draws."""

    def fill(self, weight: Tensor, corpus: Corpus, tokenizer: WordTokenizer) -> dict:
        return {}
