"""The token vectors with which the training of a biLM starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from elmo.data.corpus import Corpus
from elmo.data.text import WordTokenizer
from elmo.errors import check_range
from elmo.modules.characters import CharacterCNN, check_arguments
from elmo.modules.embedding import TokenEmbedding


class EmbeddingStart(ABC):
    """Base of what the group `embedding` names: the kind of token vectors, and how they start.

    Args:
        dim: E, width of a token vector; the biLM maps it to its own width where they differ.

    Attributes:
        characters: arguments of the `CharacterCNN` that makes the vectors; None for a table.
        lr_share: learning rate of the vectors, as a share of that of the rest.
    """

    characters: dict[str, Any] | None = None
    lr_share = 1.0

    def __init__(self, dim: int) -> None:
        check_range({"embedding.dim": dim}, at_least=1)
        self.dim = dim

    @property
    def max_characters(self) -> int | None:
        """The character ids of a word that the biLM reads; None where it reads word ids."""
        return None if self.characters is None else self.characters["max_characters"]

    @abstractmethod
    def apply(
        self, embedding: TokenEmbedding | CharacterCNN, corpus: Corpus, tokenizer: WordTokenizer
    ) -> dict:
        """Initialise the embedding of a new biLM; return facts for the run's record."""


class TableStart(EmbeddingStart):
    """Base of the ways to initialise a table with a vector for each word.

    Args:
        dim: see `EmbeddingStart`.
        freeze: keep the initial vectors throughout training.
    """

    def __init__(self, dim: int, freeze: bool) -> None:
        super().__init__(dim)
        self.freeze = freeze

    def apply(
        self, embedding: TokenEmbedding | CharacterCNN, corpus: Corpus, tokenizer: WordTokenizer
    ) -> dict:
        """Initialise the table, and freeze it where set; return facts for the run's record."""
        assert isinstance(embedding, TokenEmbedding)  # because `characters` is None
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


class RandomStart(TableStart):
    """The small random vectors that `TokenEmbedding` draws."""

    def fill(self, weight: Tensor, corpus: Corpus, tokenizer: WordTokenizer) -> dict:
        return {}


class CharacterStart(EmbeddingStart):
    """Token vectors from the characters of the words, by a `CharacterCNN` with random weights.

    Args:
        dim: see `EmbeddingStart`.
        char_dim, filters, num_highways, activation, max_characters: see `CharacterCNN`.
        lr_share: see `EmbeddingStart`. A step changes a table in the rows of the batch alone, but a
            CNN for all words at once, so it needs smaller steps.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        dim: int,
        char_dim: int,
        filters: list[list[int]],
        num_highways: int,
        activation: str,
        max_characters: int,
        lr_share: float,
    ) -> None:
        super().__init__(dim)
        check_range({"embedding.lr_share": lr_share}, above=0)
        self.lr_share = lr_share
        check_arguments(char_dim, filters, num_highways, activation, max_characters)
        self.characters = {
            "char_dim": char_dim,
            "filters": filters,
            "num_highways": num_highways,
            "activation": activation,
            "max_characters": max_characters,
        }

    def apply(
        self, embedding: TokenEmbedding | CharacterCNN, corpus: Corpus, tokenizer: WordTokenizer
    ) -> dict:
        return {}
