"""What turns the embeddings of a document into scores of its classes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from elmo.errors import check_range
from elmo.modules.bilm import reverse_within
from elmo.modules.dropout import Dropout


class Head(nn.Module, ABC):
    """Scores the classes of a document; padding has no say.

    Args:
        dim: D, width of an embedding.
        num_classes: C.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.dim = dim
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """embeddings (B, T, D), mask (B, T) True where real -> logits (B, C)."""


def pool(states: Tensor, mask: Tensor) -> Tensor:
    """Maximum and mean over the real tokens: (B, T, H), (B, T) -> (B, 2 H)."""
    padding = ~mask.unsqueeze(-1)  # (B, T, 1)
    highest = states.masked_fill(padding, -torch.inf).amax(1)
    mean = states.masked_fill(padding, 0).sum(1) / mask.sum(1, keepdim=True)
    return torch.cat([highest, mean], dim=1)


class PoolHead(Head):
    """A hidden layer for each token, then maximum and mean over the tokens, then the classes.

    Args:
        dim, num_classes: see `Head`.
        hidden_dim: width of the hidden layer.
        dropout: on the embeddings and on the pooled vector.
    """

    def __init__(
        self, dim: int, num_classes: int, hidden_dim: int = 256, dropout: float = 0.3
    ) -> None:
        super().__init__(dim, num_classes)
        check_range({"head.hidden_dim": hidden_dim}, at_least=1)
        check_range({"head.dropout": dropout}, at_least=0, below=1)
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.token = nn.Sequential(Dropout(dropout), nn.Linear(dim, hidden_dim), nn.ReLU())
        self.output = nn.Sequential(Dropout(dropout), nn.Linear(2 * hidden_dim, num_classes))

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        return self.output(pool(self.token(embeddings), mask))


class BiLSTMHead(Head):
    """A bidirectional LSTM over the tokens, maximum and mean over its states, then the classes.

    Args:
        dim, num_classes: see `Head`.
        hidden_dim: width of each direction.
        dropout: on the embeddings and on the pooled vector.
    """

    def __init__(
        self, dim: int, num_classes: int, hidden_dim: int = 128, dropout: float = 0.3
    ) -> None:
        super().__init__(dim, num_classes)
        check_range({"head.hidden_dim": hidden_dim}, at_least=1)
        check_range({"head.dropout": dropout}, at_least=0, below=1)
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.drop = Dropout(dropout)
        self.forward_lstm = nn.LSTM(dim, hidden_dim, batch_first=True)
        self.backward_lstm = nn.LSTM(dim, hidden_dim, batch_first=True)
        self.output = nn.Linear(4 * hidden_dim, num_classes)

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        embeddings = self.drop(embeddings)
        lengths = mask.sum(1)
        # Padded batches reversed by hand stay on the fused CPU kernel, packed sequences do not.
        forward, _ = self.forward_lstm(embeddings)  # (B, T, H)
        backward, _ = self.backward_lstm(reverse_within(embeddings, lengths))
        states = torch.cat([forward, reverse_within(backward, lengths)], dim=-1)  # (B, T, 2 H)
        return self.output(self.drop(pool(states, mask)))


class AttentionHead(Head):
    """A hidden layer for each token, attention and maximum over the tokens, then the classes.

    Several attentions look at the document, each softmax(v_k tanh(U h_t)) over its tokens (Lin et
    al. 2017, section 2.1, without their penalty); the classes see what each found.

    Args:
        dim, num_classes: see `Head`.
        hidden_dim: width of the hidden layer.
        dropout: on the embeddings and on the pooled vector.
        attentions: how many.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        hidden_dim: int = 256,
        dropout: float = 0.3,
        attentions: int = 4,
    ) -> None:
        super().__init__(dim, num_classes)
        check_range({"head.hidden_dim": hidden_dim}, at_least=1)
        check_range({"head.dropout": dropout}, at_least=0, below=1)
        check_range({"head.attentions": attentions}, at_least=1)
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.attentions = attentions
        self.token = nn.Sequential(Dropout(dropout), nn.Linear(dim, hidden_dim), nn.ReLU())
        self.score = nn.Sequential(
            nn.Linear(hidden_dim, 64), nn.Tanh(), nn.Linear(64, attentions, bias=False)
        )
        width = (attentions + 1) * hidden_dim
        self.output = nn.Sequential(Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        states = self.token(embeddings)  # (B, T, H)
        padding = ~mask.unsqueeze(-1)
        weights = self.score(states).masked_fill(padding, -torch.inf).softmax(1)  # (B, T, K)
        seen = torch.einsum("btk,bth->bkh", weights, states).flatten(1)  # (B, K H)
        highest = states.masked_fill(padding, -torch.inf).amax(1)  # (B, H)
        return self.output(torch.cat([seen, highest], dim=1))
