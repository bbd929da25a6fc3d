"""How the token vectors of a biLM start."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from elmo.data.corpus import Corpus
from elmo.data.text import WordTokenizer
from elmo.errors import check_range
from elmo.modules.embedding import TokenEmbedding


class EmbeddingStart(ABC):
    """How the token vectors of a biLM start, and whether training changes them.

    Args:
        dim: E, width of a token vector; the biLM maps it to its own width where they differ.
        freeze: keep the vectors as they start.
    """

    def __init__(self, dim: int, freeze: bool) -> None:
        check_range({"embedding.dim": dim}, at_least=1)
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
