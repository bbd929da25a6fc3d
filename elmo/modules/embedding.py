"""The input of the biLM: a table of token vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PADDING = 0  # the id of padding, as in `elmo.data.text`


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
        self.table = nn.Embedding(vocab_size, dim, padding_idx=PADDING)
        nn.init.normal_(self.table.weight, std=0.1)
        with torch.no_grad():
            self.table.weight[PADDING] = 0

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table(tokens)
