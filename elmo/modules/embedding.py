"""The token embedding: the input of the biLM and of static encoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elmo.modules.dropout import Dropout

PADDING = 0  # the id of padding, as in `elmo.data.text`


class TokenEmbedding(nn.Module):
    """A table with one vector for each word of the vocabulary; the vector of padding is zero.

    Args:
        vocab_size: V, number of words.
        dim: E, width of a vector.
        word_dropout: share of the vocabulary that has a zero vector in the whole batch (Gal and
            Ghahramani 2016, section 4.2; Merity et al. 2018, section 4.3).
    """

    def __init__(self, vocab_size: int, dim: int, word_dropout: float = 0.0) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.dim = dim
        self.table = nn.Embedding(vocab_size, dim, padding_idx=PADDING)
        nn.init.normal_(self.table.weight, std=0.1)
        with torch.no_grad():
            self.table.weight[PADDING] = 0
        self.drop_words = Dropout(word_dropout)

    def forward(self, tokens: Tensor, spellings: tuple[Tensor, ...] | None = None) -> Tensor:
        """Return the vectors (B, T, E) of tokens (B, T); their spellings are not read."""
        vectors = self.table(tokens)  # (B, T, E)
        if self.training and self.drop_words.p:
            kept = self.drop_words(vectors.new_ones(self.vocab_size, 1))  # (V, 1)
            vectors = vectors * kept[tokens]
        return vectors
