"""The initial token vectors of a biLM."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from elmo.data.corpus import Corpus
from elmo.data.text import WordTokenizer
from elmo.errors import check_range
from elmo.modules.embedding import TokenEmbedding


class EmbeddingStart(ABC):
    """Base of the ways to initialise the token vectors of a biLM.

    Args:
        dim: E, width of a token vector; the biLM maps it to its own width where they differ.
        freeze: keep the initial vectors throughout training.
    """

    def __init__(self, dim: int, freeze: bool) -> None:
        check_range({"embedding.dim": dim}, at_least=1)
        self.dim = dim
        self.freeze = freeze

    def apply(self, embedding: TokenEmbedding, corpus: Corpus, tokenizer: WordTokenizer) -> dict:
        """Initialise the table, and freeze it where set; return facts for the run's record."""
        record = self.fill(embedding.table.weight.data, corpus, tokenizer)
        embedding.requires_grad_(not self.freeze)
        return record

    @abstractmethod
    def fill(self, weight: Tensor, corpus: Corpus, tokenizer: WordTokenizer) -> dict:
        """Overwrite vectors in `weight` (V, E); return facts for the run's record.

        Args:
            weight: (V, E), filled with random vectors before.
            corpus: its train split may be read.
            tokenizer: the V words of the rows.
        """


class RandomStart(EmbeddingStart):
    """The small random vectors that `TokenEmbedding` draws."""

    def fill(self, weight: Tensor, corpus: Corpus, tokenizer: WordTokenizer) -> dict:
        return {}
