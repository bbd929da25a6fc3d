"""The encoder of the bidirectional language model: token embedding and two stacks of LSTMs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from elmo.errors import check_range
from elmo.modules.dropout import Dropout
from elmo.modules.embedding import TokenEmbedding

MAX_LAYERS = 64


def reverse_sequences(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each sequence of (B, T, ...) within its length (B,); padding keeps its place.

    Applied twice, it gives the inputs again.
    """
    positions = torch.arange(inputs.shape[1], device=inputs.device)  # (T,)
    mirrored = lengths.unsqueeze(1) - 1 - positions  # (B, T), negative at padding
    source = torch.where(mirrored >= 0, mirrored, positions)  # (B, T)
    documents = torch.arange(len(inputs), device=inputs.device).unsqueeze(1)  # (B, 1)
    rows = (documents * inputs.shape[1] + source).flatten()  # (B T,)
    return inputs.flatten(0, 1).index_select(0, rows).view_as(inputs)  # (B, T, ...)


class LSTMStack(nn.Module):
    """The LSTM layers of one direction; each reads the output of the layer below.

    Padding follows the real tokens and an LSTM never reads ahead, so padding changes no real
    position.

    Args:
        dim: width of the input and of each layer, H = D/2.
        num_layers: number of LSTM layers.
        dropout, variational, weight_dropout: see `BiLM`.
        residual: add the input of a layer to its output, from the second layer on (Peters et al.
            2018, section 3.4: "a residual connection from the first to second layer").
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
        lstms = [nn.LSTM(dim, dim, batch_first=True) for _ in range(num_layers)]
        self.layers = nn.ModuleList(lstms)
        self.dropout = Dropout(dropout, shared=1 if variational else None)
        self.drop_weights = Dropout(weight_dropout)
        self.residual = residual
        for lstm in lstms:
            # A forget gate that starts open lets the first gradients through (Jozefowicz et al.
            # 2015). PyTorch adds the two biases of an LSTM, so it is enough to set one of them.
            bias = lstm.get_parameter("bias_hh_l0")
            nn.init.ones_(bias.data[dim : 2 * dim])

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Return the output (B, T, H) of each layer for inputs (B, T, H)."""
        outputs: list[Tensor] = []
        for lstm in self.layers:
            below = outputs[-1] if outputs else inputs
            weights = {"weight_hh_l0": self.drop_weights(lstm.weight_hh_l0)}
            states, _ = functional_call(lstm, weights, self.dropout(below))  # (B, T, H)
            outputs.append(states + below if self.residual and outputs else states)
        return outputs


class BiLM(nn.Module):
    """The layers of a bidirectional language model (Peters et al. 2018, section 3.1).

    The two stacks are independent: at position t the forward stack has read tokens 0..t, the
    backward stack tokens t..T-1. `nn.LSTM(bidirectional=True)` would feed both directions to the
    second layer, and so show each language model the word that it has to predict.

    Args:
        vocab_size: V, number of words.
        embedding_dim: E, width of a token vector; mapped linearly to H where it differs.
        hidden_dim: H, width of one direction; a layer is D = 2 H wide.
        num_layers: LSTM layers in each direction; with the embedding there are L = num_layers + 1.
        dropout: rate on the input of every LSTM.
        residual: see `LSTMStack`.
        variational: draw one mask of `dropout` for all positions of a sequence, not a new mask at
            each (Gal and Ghahramani 2016, section 4).
        weight_dropout: rate on the recurrent weights of every LSTM, one mask for each batch (Merity
            et al. 2018, section 2).
        word_dropout: share of the vocabulary that has a zero vector in the whole batch (Gal and
            Ghahramani 2016, section 4.2; Merity et al. 2018, section 4.3).
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
        rates = {"bilm.dropout": dropout, "bilm.weight_dropout": weight_dropout}
        check_range({**rates, "bilm.word_dropout": word_dropout}, at_least=0, below=1)
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
        arguments = (hidden_dim, num_layers, dropout, residual, variational, weight_dropout)
        self.forward_lstm = LSTMStack(*arguments)
        self.backward_lstm = LSTMStack(*arguments)

    def bottom_layer(self, tokens: Tensor) -> Tensor:
        """Return layer 0 (B, T, D) of tokens (B, T), which needs no LSTM."""
        return self.projection(self.embedding(tokens)).repeat(1, 1, 2)  # (B, T, D)

    def both_directions(self, tokens: Tensor, lengths: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the L layers (B, T, H) of each direction for tokens (B, T) and lengths (B,).

        The backward layers are in reading order; `reverse_sequences` restores the text's order.
        """
        vectors = self.embedding(tokens)  # (B, T, E)
        if self.training and self.word_dropout:
            kept = self.drop_words(vectors.new_ones(self.vocab_size, 1))  # (V, 1)
            vectors = vectors * kept[tokens]  # (B, T, E)
        inputs = self.projection(vectors)  # (B, T, H)
        reversed_inputs = reverse_sequences(inputs, lengths)  # (B, T, H)
        forward, backward = self.forward_lstm(inputs), self.backward_lstm(reversed_inputs)
        return [inputs, *forward], [reversed_inputs, *backward]

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return the layers (L, B, T, D) of tokens (B, T) with lengths (B,), forward half first."""
        forward, backward = self.both_directions(tokens, lengths)
        backward = [reverse_sequences(states, lengths) for states in backward]
        return torch.cat([torch.stack(forward), torch.stack(backward)], dim=-1)  # (L, B, T, D)
