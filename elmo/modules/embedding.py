"""The token embedding: the input of the biLM and of static encoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PADDING = 0  # the id of padding, as in `elmo.data.text`


class TokenEmbedding(nn.Module):
    """A table with one vector for each word of the vocabulary; the vector of padding is zero.

    Args:
        vocab_size: V, number of words.
        dim: E, width of a vector.
    """

    def __init__(self, vocab_size: int, dim: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.dim = dim
        self.table = nn.Embedding(vocab_size, dim, padding_idx=PADDING)
        nn.init.normal_(self.table.weight, std=0.1)
        with torch.no_grad():
            self.table.weight[PADDING] = 0

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors (B, T, E) of tokens (B, T)."""
        return self.table(tokens)
