"""The encoder of the bidirectional language model: token embedding and two stacks of LSTMs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from elmo.errors import ConfigError, check_range
from elmo.modules.characters import CharacterCNN
from elmo.modules.dropout import Dropout
from elmo.modules.embedding import TokenEmbedding
from elmo.modules.linear import Linear
from elmo.modules.projected_lstm import Clips, Memory, ProjectedStack

MAX_LAYERS = 64
Spelled = tuple[Tensor, ...]  # `elmo.data.characters.Spellings`


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

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, memory: Memory | None = None
    ) -> list[Tensor]:
        """Return the output (B, T, H) of each layer for inputs (B, T, H).

        Args:
            inputs: (B, T, H).
            lengths: not read.
            memory: None; only a `ProjectedStack` has one.
        """
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
        word_dropout: see `TokenEmbedding`.
        characters: arguments of a `CharacterCNN`, which makes the token vectors from the spelling
            of the words; None for a table with a vector for each word.
        cell_dim: C, width of the cells of a `ProjectedStack`; None for an `LSTMStack`.
        cell_clip, projection_clip: bounds of c and h in a `ProjectedStack`; None for no bound.

    Raises:
        ConfigError: an argument is out of range, or a clip is given without `cell_dim`.
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
        characters: dict[str, Any] | None = None,
        cell_dim: int | None = None,
        cell_clip: float | None = None,
        projection_clip: float | None = None,
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
        self.characters = characters
        self.embedding: TokenEmbedding | CharacterCNN
        if characters is None:
            self.embedding = TokenEmbedding(vocab_size, embedding_dim, word_dropout)
        else:
            self.embedding = CharacterCNN(embedding_dim, **characters, word_dropout=word_dropout)
        self.projection = (
            nn.Identity()
            if embedding_dim == hidden_dim
            else Linear(embedding_dim, hidden_dim, bias=False)
        )
        self.cell_dim = cell_dim
        self.cell_clip = cell_clip
        self.projection_clip = projection_clip
        clips = Clips(cell_clip, projection_clip)
        _check_cells(hidden_dim, cell_dim, clips)
        arguments = (hidden_dim, num_layers, dropout, residual, variational, weight_dropout)

        def stack() -> LSTMStack | ProjectedStack:
            if cell_dim is None:
                return LSTMStack(*arguments)
            return ProjectedStack(*arguments, cell_dim=cell_dim, clips=clips)

        self.forward_lstm = stack()
        self.backward_lstm = stack()

    @property
    def max_characters(self) -> int | None:
        """The character ids of a word that the biLM reads; None where it reads word ids."""
        return self.embedding.max_characters if isinstance(self.embedding, CharacterCNN) else None

    def token_vectors(self, tokens: Tensor, spellings: Spelled | None = None) -> Tensor:
        """Return the vectors (B, T, H) of tokens (B, T), which both directions read.

        Args:
            tokens: word ids (B, T).
            spellings: what a `CharacterCNN` reads instead.
        """
        return self.projection(self.embedding(tokens, spellings))

    def bottom_layer(self, tokens: Tensor, spellings: Spelled | None = None) -> Tensor:
        """Return layer 0 (B, T, D) of tokens (B, T), which needs no LSTM."""
        return self.token_vectors(tokens, spellings).repeat(1, 1, 2)  # (B, T, D)

    def both_directions(
        self,
        tokens: Tensor,
        lengths: Tensor,
        spellings: Spelled | None = None,
        memories: tuple[Memory, Memory] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the L layers (B, T, H) of each direction.

        The backward layers are in reading order; `reverse_sequences` restores the text's order.

        Args:
            tokens: word ids (B, T).
            lengths: number of real tokens of each document (B,).
            spellings: what a `CharacterCNN` reads instead of the ids.
            memories: of the forward and the backward stack; None where documents do not depend on
                those before them.
        """
        of_forward, of_backward = memories or (None, None)
        inputs = self.token_vectors(tokens, spellings)  # (B, T, H)
        reversed_inputs = reverse_sequences(inputs, lengths)  # (B, T, H)
        forward = self.forward_lstm(inputs, lengths, of_forward)
        backward = self.backward_lstm(reversed_inputs, lengths, of_backward)
        return [inputs, *forward], [reversed_inputs, *backward]

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor,
        spellings: Spelled | None = None,
        memories: tuple[Memory, Memory] | None = None,
    ) -> Tensor:
        """Return the layers (L, B, T, D), forward half first; see `both_directions`."""
        forward, backward = self.both_directions(tokens, lengths, spellings, memories)
        backward = [reverse_sequences(states, lengths) for states in backward]
        return torch.cat([torch.stack(forward), torch.stack(backward)], dim=-1)  # (L, B, T, D)


def _check_cells(hidden_dim: int, cell_dim: int | None, clips: Clips) -> None:
    """Check the arguments of a `ProjectedStack`.

    Raises:
        ConfigError: a clip is not positive, or is given without cells; or the cells are too narrow.
    """
    bounds = {"bilm.cell_clip": clips.cell, "bilm.projection_clip": clips.projection}
    check_range(bounds, above=0, otherwise="null")
    if cell_dim is None:
        for name, bound in bounds.items():
            if bound is not None:
                raise ConfigError(f"{name} is {bound}, but bilm.cell_dim is null; set it as well")
    elif cell_dim < hidden_dim:
        raise ConfigError(
            f"bilm.cell_dim is {cell_dim}; expected at least bilm.hidden_dim, {hidden_dim}, to "
            "which it is projected"
        )
