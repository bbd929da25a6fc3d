"""How the layers of a token become one embedding: the lambda modes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from elmo.errors import ConfigError, check_range
from elmo.modules.dropout import Dropout


class Mixer(nn.Module, ABC):
    """Combines the layers of each token.

    Args:
        num_layers: L, the embedding layer included.
        dim: D, width of a layer.
        layer_norm: bring each layer of a token to mean 0 and variance 1 first, so that lambdas
            compare layers and not their scales (Peters et al. 2018, section 3.2: "in some cases it
            also helped to apply layer normalization to each biLM layer before weighting").
        layer_dropout: how often a layer of a document is left out of its mix in training, the
            others scaled up, so that no layer is relied on alone (after Kondratyuk and Straka 2019,
            section 3.2, who leave it out of a whole batch).
    """

    def __init__(
        self, num_layers: int, dim: int, layer_norm: bool = True, layer_dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_range({"mixer.num_layers": num_layers, "mixer.dim": dim}, at_least=1)
        check_range({"mixer.layer_dropout": layer_dropout}, at_least=0, below=1)
        self.num_layers = num_layers
        self.dim = dim
        self.layer_norm = layer_norm
        self.layer_dropout = layer_dropout
        self.drop_layers = Dropout(layer_dropout)

    def check(self, layers: Tensor) -> None:
        """Refuse layers (L, B, T, D) of another number or width."""
        if layers.shape[0] != self.num_layers or layers.shape[-1] != self.dim:
            raise ConfigError(
                f"the mixer was built for {self.num_layers} layers of width {self.dim}, the "
                f"encoder gives {layers.shape[0]} of width {layers.shape[-1]}"
            )

    def normalised(self, layers: Tensor) -> Tensor:
        """layers (L, B, T, D), checked and, where asked for, normalised; some left out."""
        self.check(layers)
        if self.layer_norm:
            layers = functional.layer_norm(layers, (self.dim,))
        if self.training and self.layer_dropout:
            layers = layers * self.drop_layers(layers.new_ones(*layers.shape[:2], 1, 1))
        return layers

    @property
    def output_dim(self) -> int:
        """Width of an embedding, D unless a mixer says otherwise."""
        return self.dim

    @abstractmethod
    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        """layers (L, B, T, D), mask (B, T) True where real -> embeddings (B, T, output_dim)."""

    def gates(self, layers: Tensor) -> Tensor:
        """layers (L, B, T, D), as `forward` takes them -> the weight of each for a token (L, B, T).

        Not negative, summing to one over L; `forward` sums the layers with them, then scales,
        but for `ConcatMix`, which keeps them side by side, and those that turn each by a matrix.
        The same for every token, unless a mixer says otherwise.
        """
        self.check(layers)
        return self.lambdas()[:, None, None].expand(layers.shape[:3])

    @abstractmethod
    def lambdas(self) -> Tensor:
        """The weight of each layer (L,), not negative, summing to one."""

    @property
    @abstractmethod
    def scale(self) -> Tensor:
        """gamma, a scalar."""


def side_by_side(layers: Tensor) -> Tensor:
    """(L, B, T, D) -> (B, T, L D)."""
    return layers.permute(1, 2, 0, 3).flatten(2)


class LambdaMix(Mixer):
    """What the lambda modes share: gamma * sum_l s_l W_l h_l with lambdas s_l that sum to one.

    Args:
        num_layers, dim, layer_norm, layer_dropout: see `Mixer`.
        learn_gamma: from 1; otherwise it stays 1.
        projection_dim: learn W_l (projection_dim, D), which keeps apart what a sum of the layers
            lays over each other; None for the identity, a weighted mean of the layers.
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        layer_norm: bool = True,
        learn_gamma: bool = True,
        layer_dropout: float = 0.0,
        projection_dim: int | None = None,
    ) -> None:
        super().__init__(num_layers, dim, layer_norm, layer_dropout)
        check_range({"mixer.projection_dim": projection_dim}, at_least=1)
        self.learn_gamma = learn_gamma
        self.gamma = nn.Parameter(torch.ones(()), requires_grad=learn_gamma)
        self.projection_dim = projection_dim
        if projection_dim:
            self.projection = nn.Linear(num_layers * dim, projection_dim, bias=False)

    @property
    def output_dim(self) -> int:
        return self.projection_dim or self.dim

    @property
    def scale(self) -> Tensor:
        return self.gamma


class ScalarMix(LambdaMix):
    """gamma * sum_l softmax(w)_l h_l, the same lambdas for every token (Peters et al. 2018, eq. 1).

    Args:
        num_layers, dim, layer_norm, learn_gamma, layer_dropout, projection_dim: see `LambdaMix`.
        trainable: learn w, from zeros; otherwise w ~ N(0, 1) is drawn once and kept.
        seed: of the draw of w, by a generator of its own.
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        layer_norm: bool = True,
        trainable: bool = True,
        learn_gamma: bool = True,
        seed: int | None = None,
        layer_dropout: float = 0.0,
        projection_dim: int | None = None,
    ) -> None:
        super().__init__(num_layers, dim, layer_norm, learn_gamma, layer_dropout, projection_dim)
        if trainable == (seed is not None):
            raise ConfigError(
                "mixer.seed draws the lambdas that stay frozen: it is "
                f"{seed} with mixer.trainable={trainable}; expected a number exactly when false"
            )
        self.trainable = trainable
        self.seed = seed
        start = torch.zeros(num_layers)
        if seed is not None:
            start = torch.randn(
                num_layers, generator=torch.Generator().manual_seed(seed), device="cpu"
            )
        self.weights = nn.Parameter(start, requires_grad=trainable)

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        layers, lambdas = self.normalised(layers), self.lambdas()
        if self.projection_dim is None:
            mixed = torch.einsum("l,lbtd->btd", lambdas, layers)
        else:  # the matrices are weighed, which are smaller than a batch of layers
            matrices = self.projection.weight * lambdas.repeat_interleave(self.dim)
            mixed = functional.linear(side_by_side(layers), matrices)
        return self.gamma * mixed  # (B, T, output_dim)

    def lambdas(self) -> Tensor:
        return self.weights.softmax(0)


class UntrainedMix(Mixer):
    """What the mixers without any weight share: gamma = 1."""

    def __init__(
        self, num_layers: int, dim: int, layer_norm: bool = True, layer_dropout: float = 0.0
    ) -> None:
        super().__init__(num_layers, dim, layer_norm, layer_dropout)
        self.one: Tensor
        self.register_buffer("one", torch.ones(()), persistent=False)

    def lambdas(self) -> Tensor:
        return self.one.repeat(self.num_layers) / self.num_layers

    @property
    def scale(self) -> Tensor:
        return self.one


class AverageMix(UntrainedMix):
    """The plain average of the layers: what the lambdas have to beat.

    Args:
        num_layers, dim, layer_norm, layer_dropout: see `Mixer`.
    """

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        return self.normalised(layers).mean(0)  # (B, T, D)


class LayerMix(UntrainedMix):
    """One layer alone: what it is worth without the others.

    Args:
        num_layers, dim, layer_norm: see `Mixer`.
        layer: which, from 0, the embedding.
    """

    def __init__(self, num_layers: int, dim: int, layer: int, layer_norm: bool = True) -> None:
        super().__init__(num_layers, dim, layer_norm)
        check_range({"mixer.layer": layer}, at_least=0, at_most=num_layers - 1)
        self.layer = layer

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        return self.normalised(layers)[self.layer]  # (B, T, D)

    def lambdas(self) -> Tensor:
        chosen = torch.arange(self.num_layers, device=self.one.device) == self.layer
        return chosen * self.one


class ConcatMix(UntrainedMix):
    """All layers side by side, L times as wide: the head may weigh every number of them.

    Args:
        num_layers, dim, layer_norm, layer_dropout: see `Mixer`.
    """

    @property
    def output_dim(self) -> int:
        return self.num_layers * self.dim

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        return side_by_side(self.normalised(layers))  # (B, T, L D)


class ProjectedMix(Mixer):
    """sum_l W_l h_l with a matrix W_l (D, D) for each layer: every linear function of the layers.

    `ScalarMix` is the case W_l = gamma lambda_l I, where training starts, at the plain average. It
    has as many numbers as `ConcatMix` gives to a head of width D, without making the head wider.

    Args:
        num_layers, dim, layer_norm, layer_dropout: see `Mixer`.
    """

    def __init__(
        self, num_layers: int, dim: int, layer_norm: bool = True, layer_dropout: float = 0.0
    ) -> None:
        super().__init__(num_layers, dim, layer_norm, layer_dropout)
        self.projection = nn.Linear(num_layers * dim, dim, bias=False)
        with torch.no_grad():
            self.projection.weight.copy_(torch.eye(dim).repeat(1, num_layers) / num_layers)

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        return self.projection(side_by_side(self.normalised(layers)))  # (B, T, D)

    def lambdas(self) -> Tensor:
        """The share of each W_l in the sum of their norms."""
        blocks = self.projection.weight.view(self.dim, self.num_layers, self.dim)
        norms = torch.linalg.vector_norm(blocks, dim=(0, 2))  # (L,)
        return norms / norms.sum()

    @property
    def scale(self) -> Tensor:
        """The sum of the norms over that of a plain sum of the layers."""
        blocks = self.projection.weight.view(self.dim, self.num_layers, self.dim)
        return torch.linalg.vector_norm(blocks, dim=(0, 2)).sum() / self.dim**0.5


class LearnedMix(LambdaMix):
    """gamma * sum_l g_l(h) W_l h_l with g(h) = softmax(V tanh(U [h_0; ...; h_{L-1}])), by token.

    A gate that reads all layers of a token and weighs them for this token alone: "bank" may need
    its context, "goalkeeper" the bare word. The gates still are lambdas and can be compared with
    those of `ScalarMix`. V starts at zero, hence training at the plain average (of the W_l h_l).

    Args:
        num_layers, dim, layer_norm, learn_gamma, layer_dropout, projection_dim: see `LambdaMix`.
        hidden_dim: width of the gate's hidden layer.
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        layer_norm: bool = True,
        hidden_dim: int = 64,
        learn_gamma: bool = True,
        layer_dropout: float = 0.0,
        projection_dim: int | None = None,
    ) -> None:
        super().__init__(num_layers, dim, layer_norm, learn_gamma, layer_dropout, projection_dim)
        check_range({"mixer.hidden_dim": hidden_dim}, at_least=1)
        self.hidden_dim = hidden_dim
        self.hidden = nn.Linear(num_layers * dim, hidden_dim)
        self.gate = nn.Linear(hidden_dim, num_layers)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.gate_sum: Tensor
        self.gate_count: Tensor
        self.register_buffer("gate_sum", torch.zeros(num_layers), persistent=False)
        self.register_buffer("gate_count", torch.zeros(()), persistent=False)

    def train(self, mode: bool = True) -> LearnedMix:
        """Switching modes starts a new mean of the gates."""
        if mode != self.training:
            self.gate_sum.zero_()
            self.gate_count.zero_()
        return super().train(mode)

    def gates(self, layers: Tensor) -> Tensor:
        return self._gates(self.normalised(layers))

    def _gates(self, layers: Tensor) -> Tensor:
        """The gates (L, B, T) of layers that are normalised already."""
        together = side_by_side(layers)
        return self.gate(self.hidden(together).tanh()).softmax(-1).permute(2, 0, 1)

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        layers = self.normalised(layers)
        gates = self._gates(layers)
        with torch.no_grad():
            self.gate_sum += (gates * mask).sum((1, 2))
            self.gate_count += mask.sum()
        weighed = gates.unsqueeze(-1) * layers  # (L, B, T, D)
        narrow = self.projection_dim is not None
        mixed = self.projection(side_by_side(weighed)) if narrow else weighed.sum(0)
        return self.gamma * mixed  # (B, T, output_dim)

    def lambdas(self) -> Tensor:
        """The mean gates over the tokens seen since the last change between train and eval mode."""
        if self.gate_count == 0:
            return torch.full_like(self.gate_sum, 1 / self.num_layers)
        return self.gate_sum / self.gate_count
