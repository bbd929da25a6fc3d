"""The static encoders, whose vectors do not depend on the context: of words, and of pairs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from elmo.data.batches import Batch
from elmo.data.text import WordTokenizer
from elmo.models.encoders import Encoder
from elmo.modules.embedding import TokenEmbedding


class StaticEncoder(Encoder):
    """One vector for each word, the same in every context: L = 1, D = E.

    Args:
        tokenizer: its V words are the rows of the table.
        dim: D, width of a layer.
    """

    num_layers = 1
    stored_layers = 0  # a look-up is as fast as reading from a store

    def __init__(self, tokenizer: WordTokenizer, dim: int) -> None:
        super().__init__(tokenizer)
        self.dim = dim
        self.embedding = TokenEmbedding(len(tokenizer), dim).requires_grad_(False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        return self.embedding(batch.tokens).unsqueeze(0)  # (1, B, T, D)

    def config(self) -> dict[str, Any]:
        return {"class": "StaticEncoder", "arguments": {"dim": self.dim}}

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: WordTokenizer) -> Self:
        return cls(tokenizer, **config["arguments"])


class PairEncoder(StaticEncoder):
    """A vector for each word, and one for each frequent pair of words: L = 2, D = E.

    Layer 1 of a token is the vector of the pair that it makes with the token after it, and zero
    where the pair has none. Bags of words with such pairs are strong baselines of text
    classification (Joulin et al. 2017, section 2.1).

    Args:
        tokenizer, dim: see `StaticEncoder`.
        pairs: the word ids of each pair (P, 2), in ascending order.

    Raises:
        ValueError: the ids are not those of two words, or not in order.
    """

    num_layers = 2

    def __init__(self, tokenizer: WordTokenizer, dim: int, pairs: np.ndarray) -> None:
        super().__init__(tokenizer, dim)
        size = len(tokenizer)
        keys = pairs[:, 0] * size + pairs[:, 1]  # (P,)
        known = not pairs.size or (pairs.min() >= 0 and pairs.max() < size)
        if not known or (np.diff(keys) < 1).any():
            raise ValueError("its pairs are not ascending pairs of word ids")
        self.pairs = pairs
        self.keys: Tensor
        # Row 0 is the zero vector of all other pairs; no pair has the key -1.
        rows = torch.from_numpy(np.concatenate([[-1], keys]).astype(np.int64))  # (P + 1,)
        self.register_buffer("keys", rows, persistent=False)
        self.pair_embedding = TokenEmbedding(len(rows), dim).requires_grad_(False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        following = functional.pad(batch.tokens[:, 1:], (0, 1))  # (B, T)
        keys = batch.tokens * len(self.tokenizer) + following  # (B, T)
        rows = torch.searchsorted(self.keys, keys, right=True) - 1  # (B, T), of the last key <= it
        rows = torch.where(self.keys[rows] == keys, rows, 0)
        vectors = self.embedding(batch.tokens), self.pair_embedding(rows)
        return torch.stack(vectors)  # (2, B, T, D)

    def config(self) -> dict[str, Any]:
        # As one text: a config holds a limited number of values.
        pairs = " ".join(map(str, self.pairs.flatten().tolist()))
        return {"class": "PairEncoder", "arguments": {"dim": self.dim, "pairs": pairs}}

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: WordTokenizer) -> Self:
        arguments = config["arguments"]
        pairs = np.array(arguments["pairs"].split(), dtype=np.int64).reshape(-1, 2)
        return cls(tokenizer, arguments["dim"], pairs)
