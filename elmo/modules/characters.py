"""The token embedding of the published ELMo: a convolution over the characters of each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elmo.errors import ConfigError, check_range
from elmo.modules.dropout import Dropout
from elmo.modules.linear import Linear

CHARACTERS = 262  # ids, 0 is outside a document
IN_WORD_PADDING = 261  # as in `elmo.data.characters`, shifted by one
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
# Words are convolved in groups of similar length, most of whose positions are not padding.
GROUP_ENDS = (8, 10, 12, 16, 24, 10**9)
GROUP_WORDS = 512  # in a group, at most, so that its memory is bounded


class Highway(nn.Module):
    """g * relu(x W_t + b_t) + (1 - g) * x with the gate g = sigmoid(x W_c + b_c) (bilm-tf).

    Args:
        dim: F, width of the input and the output.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.carry = Linear(dim, dim)
        self.transform = Linear(dim, dim)
        for linear, bias in ((self.carry, -2.0), (self.transform, 0.0)):
            nn.init.normal_(linear.weight, std=dim**-0.5)
            nn.init.constant_(linear.bias, bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs (U, F) of inputs (U, F)."""
        gate = self.carry(inputs).sigmoid()
        return gate * self.transform(inputs).relu() + (1 - gate) * inputs


class CharacterCNN(nn.Module):
    """A vector for each word, from its characters alone (Kim et al. 2016; Peters et al. 2018).

    The characters are embedded and convolved with filters of several widths; the maximum of each
    filter over all positions, padding included, goes through highway layers and a projection. It is
    computed once for each distinct spelling of a batch.

    Args:
        dim: E, width of a vector.
        char_dim: d, width of a character's vector.
        filters: pairs of width and number, in any order; F is the sum of the numbers.
        num_highways: highway layers, 0 or more.
        activation: `relu` or `tanh`, after the maximum.
        max_characters: C, character ids of a word.
        word_dropout: share of the distinct spellings that have a zero vector in the whole batch.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        dim: int,
        char_dim: int = 16,
        filters: Sequence[Sequence[int]] = ((1, 32), (2, 32), (3, 64), (4, 128)),
        num_highways: int = 1,
        activation: str = "relu",
        max_characters: int = 50,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_arguments(char_dim, filters, num_highways, activation, max_characters)
        self.dim = dim
        self.activation = activation
        self.max_characters = max_characters
        self.widest = max(width for width, _ in filters)
        self.characters = nn.Embedding(CHARACTERS, char_dim, padding_idx=0)
        nn.init.uniform_(self.characters.weight, -1, 1)
        with torch.no_grad():
            self.characters.weight[0] = 0
        convolutions = [nn.Conv1d(char_dim, count, width) for width, count in filters]
        self.filters = nn.ModuleList(convolutions)
        for convolution in convolutions:
            # bilm-tf has a narrower start for relu, with which words differ less, and which learns
            # more slowly.
            nn.init.normal_(convolution.weight, std=convolution.weight[0].numel() ** -0.5)
            nn.init.zeros_(convolution.get_parameter("bias"))
        total = sum(count for _, count in filters)
        self.highways = nn.Sequential(*(Highway(total) for _ in range(num_highways)))
        self.projection = nn.Identity() if total == dim else Linear(total, dim)
        if isinstance(self.projection, nn.Linear):
            nn.init.normal_(self.projection.weight, std=total**-0.5)
            nn.init.zeros_(self.projection.bias)
        self.drop_words = Dropout(word_dropout)

    def forward(self, tokens: Tensor, spellings: tuple[Tensor, ...] | None = None) -> Tensor:
        """Return the vectors (B, T, E) of tokens (B, T), of which only the spellings are read.

        Args:
            tokens: word ids (B, T).
            spellings: see `elmo.data.characters.Spellings`.

        Raises:
            ConfigError: the spellings are missing.
        """
        if spellings is None:
            raise ConfigError("this biLM reads characters; expected the spellings of the tokens")
        characters, places = spellings[:2]
        computed = characters.is_floating_point()
        vectors = characters if computed else self.word_vectors(characters)  # (U, E)
        vectors = vectors * self.drop_words(vectors.new_ones(len(vectors), 1))
        return vectors.index_select(0, places.flatten()).view(*places.shape, self.dim)

    def word_vectors(self, characters: Tensor) -> Tensor:
        """Return the vectors (U, E) of words with character ids (U, C); zeros for a row of zeros.

        A window that holds nothing but padding gives the same number wherever it is, so one of them
        is enough for the maximum, and the padding behind it is left out.
        """
        total, longest = characters.shape
        lengths = (characters != IN_WORD_PADDING).sum(1)  # (U,)
        lengths = lengths.masked_fill(characters[:, 0] == 0, 1)
        order = lengths.argsort(stable=True)
        ends = torch.tensor(GROUP_ENDS, device=lengths.device)
        counts = torch.bucketize(lengths[order], ends).bincount(minlength=len(GROUP_ENDS)).tolist()
        groups = [part for group in order.split(counts) for part in group.split(GROUP_WORDS)]
        maxima = [
            self._maxima(characters[rows, : min(longest, int(lengths[rows[-1]]) + self.widest)])
            for rows in groups
            if len(rows)
        ]
        places = torch.empty_like(order)
        places[order] = torch.arange(total, device=order.device)
        features = torch.cat(maxima)[places]  # (U, F)
        vectors = self.projection(self.highways(features))  # (U, E)
        return vectors * (characters[:, :1] != 0)

    def _maxima(self, characters: Tensor) -> Tensor:
        """Return the maximum of each filter (N, F) over the positions of words (N, C)."""
        embedded = self.characters(characters).transpose(1, 2)  # (N, d, C)
        responses = (convolution(embedded) for convolution in self.filters)  # (N, n, C - width + 1)
        if torch.is_grad_enabled():  # its gradient takes less time than that of amax
            maxima = [response.max(2).values for response in responses]
        else:
            maxima = [response.amax(2) for response in responses]
        return ACTIVATIONS[self.activation](torch.cat(maxima, 1))  # (N, F)


def check_arguments(
    char_dim: int,
    filters: Sequence[Sequence[int]],
    num_highways: int,
    activation: str,
    max_characters: int,
) -> None:
    """Check arguments of `CharacterCNN`.

    Raises:
        ConfigError: one is out of range.
    """
    check_range({"embedding.char_dim": char_dim}, at_least=1)
    check_range({"embedding.num_highways": num_highways}, at_least=0)
    check_range({"embedding.max_characters": max_characters}, at_least=3)
    if activation not in list(ACTIVATIONS):  # it may be a list
        raise ConfigError(f"embedding.activation is {activation!r}; expected relu or tanh")
    good = isinstance(filters, Sequence) and len(filters) > 0
    if not good or not all(is_filter(pair, max_characters) for pair in filters):
        raise ConfigError(
            f"embedding.filters is {filters}; expected pairs [width, number], such as "
            f"[[1, 32], [2, 64]], with widths of 1 to {max_characters} characters"
        )


def is_filter(pair: Any, max_width: int) -> bool:
    """Tell whether a value is the width and the number of filters of one kind."""
    return (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(type(number) is int and number >= 1 for number in pair)
        and pair[0] <= max_width
    )
