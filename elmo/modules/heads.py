"""The heads: from the embeddings of a document to the logits of its classes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from elmo.errors import check_range
from elmo.modules.bilm import reverse_sequences
from elmo.modules.dropout import Dropout
from elmo.modules.linear import Linear


class Head(nn.Module, ABC):
    """Base of the heads, which score the classes of a document; padding has no influence.

    Args:
        dim: D, width of an embedding.
        num_classes: C, number of classes.
        hidden_dim: H, width of the hidden layer, or of each direction of an LSTM.
        dropout: rate on the embeddings and on the pooled vector.
        token_dropout: rate at which whole tokens are left out of a document in training, where the
            words that a frozen biLM has read can no longer be dropped (word dropout: Iyyer et al.
            2015, section 3.3). The first token, `<s>`, stays.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        hidden_dim: int,
        dropout: float,
        token_dropout: float | None,
    ) -> None:
        super().__init__()
        check_range({"head.hidden_dim": hidden_dim}, at_least=1)
        rates = {"head.dropout": dropout, "head.token_dropout": token_dropout}
        check_range(rates, at_least=0, below=1)
        self.dim = dim
        self.num_classes = num_classes
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.token_dropout = token_dropout

    def thinned(self, mask: Tensor) -> Tensor:
        """Return the mask (B, T) without the tokens that are dropped in training."""
        if not self.training or not self.token_dropout:
            return mask
        kept = torch.rand(mask.shape, device=mask.device) >= self.token_dropout  # (B, T)
        kept[:, 0] = True
        return mask & kept

    @abstractmethod
    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Return logits (B, C) for embeddings (B, T, D) and mask (B, T), True at real tokens."""


def pool(states: Tensor, mask: Tensor) -> Tensor:
    """Return maximum and mean (B, 2 H) of states (B, T, H) over the real tokens of mask (B, T)."""
    padding = ~mask.unsqueeze(-1)  # (B, T, 1)
    maximum = states.masked_fill(padding, -torch.inf).amax(1)  # (B, H)
    mean = states.masked_fill(padding, 0).sum(1) / mask.sum(1, keepdim=True)  # (B, H)
    return torch.cat([maximum, mean], dim=1)  # (B, 2 H)


class PoolHead(Head):
    """A hidden layer for each token, maximum and mean over the tokens, and an output layer.

    Args:
        dim, num_classes, hidden_dim, dropout, token_dropout: see `Head`.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        hidden_dim: int = 256,
        dropout: float = 0.3,
        token_dropout: float | None = None,
    ) -> None:
        super().__init__(dim, num_classes, hidden_dim, dropout, token_dropout)
        self.token = nn.Sequential(Dropout(dropout), Linear(dim, hidden_dim), nn.ReLU())
        self.output = nn.Sequential(Dropout(dropout), Linear(2 * hidden_dim, num_classes))

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        return self.output(pool(self.token(embeddings), self.thinned(mask)))  # (B, C)


class BiLSTMHead(Head):
    """A bidirectional LSTM over the tokens, maximum and mean of its states, and an output layer.

    Args:
        dim, num_classes, hidden_dim, dropout, token_dropout: see `Head`.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        hidden_dim: int = 128,
        dropout: float = 0.3,
        token_dropout: float | None = None,
    ) -> None:
        super().__init__(dim, num_classes, hidden_dim, dropout, token_dropout)
        self.drop = Dropout(dropout)
        self.forward_lstm = nn.LSTM(dim, hidden_dim, batch_first=True)
        self.backward_lstm = nn.LSTM(dim, hidden_dim, batch_first=True)
        self.output = Linear(4 * hidden_dim, num_classes)

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        embeddings = self.drop(embeddings)  # (B, T, D)
        lengths = mask.sum(1)  # (B,)
        # Padded batches reversed by hand use the fused CPU kernel, packed sequences do not.
        forward, _ = self.forward_lstm(embeddings)  # (B, T, H)
        backward, _ = self.backward_lstm(reverse_sequences(embeddings, lengths))  # (B, T, H)
        states = torch.cat([forward, reverse_sequences(backward, lengths)], dim=-1)  # (B, T, 2 H)
        return self.output(self.drop(pool(states, self.thinned(mask))))  # (B, C)


class AttentionHead(Head):
    """A hidden layer for each token, attention and maximum over the tokens, and an output layer.

    There are K attentions, each with weights softmax(v_k tanh(U h_t)) over the tokens of the
    document (Lin et al. 2017, section 2.1, without their penalty). The output layer reads the
    weighted mean of each, and the maximum.

    Args:
        dim, num_classes, hidden_dim, dropout, token_dropout: see `Head`.
        attentions: K, number of attentions.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        hidden_dim: int = 256,
        dropout: float = 0.3,
        attentions: int = 4,
        token_dropout: float | None = None,
    ) -> None:
        super().__init__(dim, num_classes, hidden_dim, dropout, token_dropout)
        check_range({"head.attentions": attentions}, at_least=1)
        self.attentions = attentions
        self.token = nn.Sequential(Dropout(dropout), Linear(dim, hidden_dim), nn.ReLU())
        self.score = nn.Sequential(
            Linear(hidden_dim, 64), nn.Tanh(), Linear(64, attentions, bias=False)
        )
        width = (attentions + 1) * hidden_dim
        self.output = nn.Sequential(Dropout(dropout), Linear(width, num_classes))

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        states = self.token(embeddings)  # (B, T, H)
        padding = ~self.thinned(mask).unsqueeze(-1)  # (B, T, 1)
        weights = self.score(states).masked_fill(padding, -torch.inf).softmax(1)  # (B, T, K)
        attended = torch.einsum("btk,bth->bkh", weights, states).flatten(1)  # (B, K H)
        maximum = states.masked_fill(padding, -torch.inf).amax(1)  # (B, H)
        return self.output(torch.cat([attended, maximum], dim=1))  # (B, C)
