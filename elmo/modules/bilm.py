"""The bidirectional language model's encoder: token embedding and two stacks of LSTMs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from elmo.errors import check_range
from elmo.modules.dropout import Dropout
from elmo.modules.embedding import TokenEmbedding

MAX_LAYERS = 64


def reverse_within(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each sequence of (B, T, ...) inside its own length; padding stays where it is.

    It is its own inverse.
    """
    positions = torch.arange(inputs.shape[1], device=inputs.device)
    mirrored = lengths.unsqueeze(1) - 1 - positions  # (B, T)
    source = torch.where(mirrored >= 0, mirrored, positions)
    starts = torch.arange(len(inputs), device=inputs.device).unsqueeze(1) * inputs.shape[1]
    return inputs.flatten(0, 1).index_select(0, (starts + source).flatten()).view_as(inputs)


class LSTMStack(nn.Module):
    """One direction: LSTM layers, each reading the one below, the second and later with a residual.

    Padding stands behind the real tokens, and the future is never read, so it reaches none of them.

    Args:
        dim: width of the input and of each layer, H = D/2.
        num_layers: LSTM layers.
        dropout, variational, weight_dropout: see `BiLM`.
        residual: add a layer's input to its output, from the second layer on (Peters et al. 2018,
            section 3.4: "a residual connection from the first to second layer").
    """

    def __init__(
        self,
        dim: int,
        num_layers: int,
        dropout: float,
        residual: bool,
        variational: bool = False,
        weight_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        stack = [nn.LSTM(dim, dim, batch_first=True) for _ in range(num_layers)]
        self.layers = nn.ModuleList(stack)
        self.dropout = Dropout(dropout, shared=1 if variational else None)
        self.drop_weights = Dropout(weight_dropout)
        self.residual = residual
        for lstm in stack:
            # A forget gate that starts open lets the first gradients through (Jozefowicz et al.
            # 2015); the two biases of PyTorch's LSTM are added up, one of them is enough.
            bias = lstm.get_parameter("bias_hh_l0")
            nn.init.ones_(bias.data[dim : 2 * dim])

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """(B, T, H) -> one (B, T, H) for each layer."""
        outputs: list[Tensor] = []
        for lstm in self.layers:
            below = outputs[-1] if outputs else inputs
            weights = {"weight_hh_l0": self.drop_weights(lstm.weight_hh_l0)}
            states, _ = functional_call(lstm, weights, self.dropout(below))  # (B, T, H)
            outputs.append(states + below if self.residual and outputs else states)
        return outputs


class BiLM(nn.Module):
    """The layers of a bidirectional language model (Peters et al. 2018, section 3.1).

    Two independent stacks: the forward one at position t has read tokens 0..t, the backward one
    tokens t..T-1. `nn.LSTM(bidirectional=True)` would feed the second layer with both directions
    and so show each language model the word it has to predict.

    Args:
        vocab_size: V.
        embedding_dim: E, width of a token vector, mapped linearly to H where it differs.
        hidden_dim: H, width of one direction; a layer is D = 2 H wide.
        num_layers: LSTM layers in each direction; with the embedding there are L = num_layers + 1.
        dropout: on the input of every LSTM.
        residual: see `LSTMStack`.
        variational: one mask of `dropout` for all positions of a sequence (Gal and Ghahramani 2016,
            section 4), instead of a new one at each.
        weight_dropout: on the recurrent weights of every LSTM, one mask a batch (Merity et al.
            2018, section 2).
        word_dropout: words whose vector is zero throughout a batch (Gal and Ghahramani 2016,
            section 4.2; Merity et al. 2018, section 4.3).
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int = 256,
        hidden_dim: int = 256,
        num_layers: int = 2,
        dropout: float = 0.2,
        residual: bool = True,
        variational: bool = False,
        weight_dropout: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = {"vocab_size": vocab_size, "bilm.embedding_dim": embedding_dim}
        check_range({**sizes, "bilm.hidden_dim": hidden_dim}, at_least=1)
        check_range({"bilm.num_layers": num_layers}, at_least=1, at_most=MAX_LAYERS)
        shares = {"bilm.dropout": dropout, "bilm.weight_dropout": weight_dropout}
        check_range({**shares, "bilm.word_dropout": word_dropout}, at_least=0, below=1)
        self.vocab_size = vocab_size
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.dropout = dropout
        self.residual = residual
        self.variational = variational
        self.weight_dropout = weight_dropout
        self.word_dropout = word_dropout
        self.embedding = TokenEmbedding(vocab_size, embedding_dim)
        self.drop_words = Dropout(word_dropout)
        self.projection = (
            nn.Identity()
            if embedding_dim == hidden_dim
            else nn.Linear(embedding_dim, hidden_dim, bias=False)
        )
        stack = (hidden_dim, num_layers, dropout, residual, variational, weight_dropout)
        self.forward_lstm = LSTMStack(*stack)
        self.backward_lstm = LSTMStack(*stack)

    def bottom(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> layer 0 alone (B, T, D): a look-up."""
        return self.projection(self.embedding(tokens)).repeat(1, 1, 2)

    def directions(self, tokens: Tensor, lengths: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """tokens (B, T), lengths (B,) -> the L layers of each direction, (B, T, H) each.

        Those of the backward direction stand in the order in which it reads: `reverse_within`.
        """
        vectors = self.embedding(tokens)  # (B, T, E)
        if self.training and self.word_dropout:
            kept = self.drop_words(vectors.new_ones(self.vocab_size, 1))
            vectors = vectors * kept[tokens]
        inputs = self.projection(vectors)  # (B, T, H)
        mirrored = reverse_within(inputs, lengths)
        forward, backward = self.forward_lstm(inputs), self.backward_lstm(mirrored)
        return [inputs, *forward], [mirrored, *backward]

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """tokens (B, T), lengths (B,) -> layers (L, B, T, D), forward half first."""
        forward, mirrored = self.directions(tokens, lengths)
        backward = [reverse_within(states, lengths) for states in mirrored]
        return torch.cat([torch.stack(forward), torch.stack(backward)], dim=-1)  # (L, B, T, D)
