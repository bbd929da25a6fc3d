"""The mixers, which combine the layers of a token into one embedding: the lambda modes."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from elmo.errors import ConfigError, check_range
from elmo.modules.dropout import Dropout
from elmo.modules.linear import Linear, linear


class Mixer(nn.Module, ABC):
    """Base of the mixers, which combine the layers of each token.

    Args:
        num_layers: L, including the embedding layer.
        dim: D, width of a layer.
        layer_norm: bring each layer of a token to mean 0 and variance 1 first, so that lambdas
            compare layers and not their scales (Peters et al. 2018, section 3.2: "in some cases it
            also helped to apply layer normalization to each biLM layer before weighting").
        layer_dropout: probability that a layer of a document is zeroed in training, with the others
            scaled up, so that the model relies on no layer alone (after Kondratyuk and Straka 2019,
            section 3.2, who zero it in a whole batch).
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

    def check_layers(self, layers: Tensor) -> None:
        """Check number and width of layers (L, B, T, D).

        Raises:
            ConfigError: they are not those that the mixer was built for.
        """
        if layers.shape[0] != self.num_layers or layers.shape[-1] != self.dim:
            raise ConfigError(
                f"the encoder gives {layers.shape[0]} layers of width {layers.shape[-1]}; the "
                f"mixer was built for {self.num_layers} layers of width {self.dim}"
            )

    def prepare(self, layers: Tensor) -> Tensor:
        """Check layers (L, B, T, D), then apply layer normalisation and layer dropout."""
        self.check_layers(layers)
        if self.layer_norm:
            layers = functional.layer_norm(layers, (self.dim,))
        if self.training and self.layer_dropout:
            mask = self.drop_layers(layers.new_ones(*layers.shape[:2], 1, 1))  # (L, B, 1, 1)
            layers = layers * mask
        return layers  # (L, B, T, D)

    @property
    def output_dim(self) -> int:
        """The width of an embedding: D, unless a mixer changes it."""
        return self.dim

    @abstractmethod
    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        """Return the embeddings (B, T, output_dim) of documents.

        Args:
            layers: (L, B, T, D).
            mask: (B, T), True at real tokens.
        """

    def gates(self, layers: Tensor) -> Tensor:
        """Return the weight of each layer for each token (L, B, T), given layers (L, B, T, D).

        The weights are not negative and sum to one over L. `forward` sums the layers with these
        weights and multiplies the sum by gamma. Exceptions are `ConcatMix`, which concatenates the
        layers, and the mixers that multiply each layer by a matrix. All tokens have the same
        weights, unless a mixer overrides this method.
        """
        self.check_layers(layers)
        return self.lambdas()[:, None, None].expand(layers.shape[:3])  # (L, B, T)

    @abstractmethod
    def lambdas(self) -> Tensor:
        """Return the weight of each layer (L,); weights are not negative and sum to one."""

    @property
    @abstractmethod
    def scale(self) -> Tensor:
        """The scalar gamma."""

    def penalty(self) -> Tensor | None:
        """Return what training adds to the loss; None where that is nothing."""
        return None


def concatenate(layers: Tensor) -> Tensor:
    """Concatenate the layers (L, B, T, D) of each token to (B, T, L D)."""
    return layers.permute(1, 2, 0, 3).flatten(2)  # (B, T, L D)


def products(layers: Tensor, matrices: Tensor) -> list[Tensor]:
    """Return M_l h_l (B, T, O) for each of the layers (L, B, T, D), given [M_1 ... M_L] (O, L D).

    Their sum is the product with the concatenation of the layers, which would be one more copy of
    everything that a classifier reads.
    """
    parts = matrices.split(layers.shape[-1], 1)  # each (O, D)
    return [linear(layer, part.contiguous()) for layer, part in zip(layers, parts, strict=True)]


def total(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of tensors of the same shape."""
    return functools.reduce(torch.add, parts)


class LambdaMix(Mixer):
    """Base of the lambda modes: gamma * sum_l s_l W_l h_l with lambdas s_l that sum to one.

    Args:
        num_layers, dim, layer_norm, layer_dropout: see `Mixer`.
        learn_gamma: learn gamma, starting from 1; otherwise it stays 1.
        projection_dim: learn matrices W_l (projection_dim, D), which can keep the information of
            the layers separate where a plain sum blends it; None uses the identity, that is a
            weighted mean of the layers.
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
            self.projection = Linear(num_layers * dim, projection_dim, bias=False)

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
        trainable: learn w, starting from zeros; otherwise w ~ N(0, 1) is drawn once and kept.
        seed: seed for drawing w, with a separate generator; None where w is trainable.
        l2: training adds this times the sum of all w^2 to the loss, which draws lambdas towards
            equal ones (Peters et al. 2018, section 3.3); None adds nothing.

    Raises:
        ConfigError: a seed with trainable w, or frozen w without a seed or with `l2`.
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
        l2: float | None = None,
    ) -> None:
        super().__init__(num_layers, dim, layer_norm, learn_gamma, layer_dropout, projection_dim)
        check_range({"mixer.l2": l2}, at_least=0, otherwise="null")
        if l2 is not None and not trainable:
            raise ConfigError(f"mixer.l2 is {l2} with frozen lambdas; expected null: they stay")
        if trainable == (seed is not None):
            raise ConfigError(
                f"mixer.seed is {seed} with mixer.trainable={trainable}; expected a number for "
                "frozen lambdas, which it draws, and null for trainable ones"
            )
        self.trainable = trainable
        self.seed = seed
        self.l2 = l2
        start = torch.zeros(num_layers)
        if seed is not None:
            start = torch.randn(
                num_layers, generator=torch.Generator().manual_seed(seed), device="cpu"
            )
        self.weights = nn.Parameter(start, requires_grad=trainable)

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        layers, lambdas = self.prepare(layers), self.lambdas()
        if self.projection_dim is None:
            mixed = torch.einsum("l,lbtd->btd", lambdas, layers)  # (B, T, D)
        else:  # weight the matrices: they are smaller than a batch of layers
            matrices = self.projection.weight * lambdas.repeat_interleave(self.dim)
            mixed = total(products(layers, matrices))  # (B, T, projection_dim)
        return self.gamma * mixed  # (B, T, output_dim)

    def lambdas(self) -> Tensor:
        return self.weights.softmax(0)

    def penalty(self) -> Tensor | None:
        return None if self.l2 is None else self.l2 * self.weights.square().sum()


class UntrainedMix(Mixer):
    """Base of the mixers that learn no lambdas: gamma = 1, and by default equal lambdas."""

    def __init__(
        self, num_layers: int, dim: int, layer_norm: bool = True, layer_dropout: float = 0.0
    ) -> None:
        super().__init__(num_layers, dim, layer_norm, layer_dropout)
        # Only its device and dtype are used: artifacts do not save its value. Checkpoints name it.
        self.one: Tensor
        self.register_buffer("one", torch.zeros(()), persistent=False)

    def lambdas(self) -> Tensor:
        return self.one.new_full((self.num_layers,), 1 / self.num_layers)

    @property
    def scale(self) -> Tensor:
        return self.one.new_ones(())


class AverageMix(UntrainedMix):
    """The plain average of the layers: the baseline of the lambda modes.

    Args:
        num_layers, dim, layer_norm, layer_dropout: see `Mixer`.
    """

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        return self.prepare(layers).mean(0)  # (B, T, D)


class LayerMix(UntrainedMix):
    """One layer alone, without the others.

    Args:
        num_layers, dim, layer_norm: see `Mixer`.
        layer: index of the layer; 0 is the embedding.
        projection_dim: learn a matrix (projection_dim, D) for the layer, as the lambda modes do
            for each of theirs; None leaves the layer as it is.
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        layer: int,
        layer_norm: bool = True,
        projection_dim: int | None = None,
    ) -> None:
        super().__init__(num_layers, dim, layer_norm)
        check_range({"mixer.layer": layer}, at_least=0, at_most=num_layers - 1)
        check_range({"mixer.projection_dim": projection_dim}, at_least=1)
        self.layer = layer
        self.projection_dim = projection_dim
        if projection_dim:
            self.projection = Linear(dim, projection_dim, bias=False)

    @property
    def output_dim(self) -> int:
        return self.projection_dim or self.dim

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        layer = self.prepare(layers)[self.layer]  # (B, T, D)
        return layer if self.projection_dim is None else self.projection(layer)

    def lambdas(self) -> Tensor:
        lambdas = self.one.new_zeros(self.num_layers)
        lambdas[self.layer] = 1
        return lambdas


class ConcatMix(UntrainedMix):
    """The concatenation of all layers, L D wide: the head may weight every component.

    Args:
        num_layers, dim, layer_norm, layer_dropout: see `Mixer`.
    """

    @property
    def output_dim(self) -> int:
        return self.num_layers * self.dim

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        return concatenate(self.prepare(layers))  # (B, T, L D)


class ProjectedMix(Mixer):
    """sum_l W_l h_l with a matrix W_l (D, D) for each layer: any linear function of the layers.

    `ScalarMix` is the case W_l = gamma lambda_l I. Training starts from the plain average. The
    matrices have as many weights as `ConcatMix` gives to a head of width D, but the input of the
    head stays D wide.

    Args:
        num_layers, dim, layer_norm, layer_dropout: see `Mixer`.
    """

    def __init__(
        self, num_layers: int, dim: int, layer_norm: bool = True, layer_dropout: float = 0.0
    ) -> None:
        super().__init__(num_layers, dim, layer_norm, layer_dropout)
        self.projection = Linear(num_layers * dim, dim, bias=False)
        with torch.no_grad():
            self.projection.weight.copy_(torch.eye(dim).repeat(1, num_layers) / num_layers)

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        return total(products(self.prepare(layers), self.projection.weight))  # (B, T, D)

    def _norms(self) -> Tensor:
        matrices = self.projection.weight.view(self.dim, self.num_layers, self.dim)
        return torch.linalg.vector_norm(matrices, dim=(0, 2))  # (L,), Frobenius norms of the W_l

    def lambdas(self) -> Tensor:
        """Return the share (L,) of each W_l in the sum of their norms."""
        norms = self._norms()
        return norms / norms.sum()  # (L,)

    @property
    def scale(self) -> Tensor:
        """The sum of the norms of the W_l, divided by the norm of the identity."""
        return self._norms().sum() / self.dim**0.5


class LearnedMix(LambdaMix):
    """gamma * sum_l g_l(h) W_l h_l with gates g(h) = softmax(V tanh(U [h_0; ...; h_{L-1}])).

    The gate of a token reads all of its layers and weights them for this token alone: "bank" may
    need its context, "goalkeeper" only the word. Gates sum to one like lambdas, so they can be
    compared with those of `ScalarMix`. V starts at zero, so training starts from the plain average
    of the W_l h_l.

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
        self.hidden = Linear(num_layers * dim, hidden_dim)
        self.gate = Linear(hidden_dim, num_layers)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.gate_sum: Tensor
        self.gate_count: Tensor
        self.register_buffer("gate_sum", torch.zeros(num_layers), persistent=False)
        self.register_buffer("gate_count", torch.zeros(()), persistent=False)

    def train(self, mode: bool = True) -> LearnedMix:
        """Set the mode; a change between train and eval mode starts a new mean of the gates."""
        if mode != self.training:
            self.gate_sum.zero_()
            self.gate_count.zero_()
        return super().train(mode)

    def gates(self, layers: Tensor) -> Tensor:
        return self._gates(products(self.prepare(layers), self.hidden.weight))

    def _gates(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the gates (L, B, T), given U_l h_l (B, T, hidden_dim) of each layer."""
        hidden = (total(parts) + self.hidden.bias).tanh()  # (B, T, hidden_dim)
        return self.gate(hidden).softmax(-1).permute(2, 0, 1)  # (L, B, T)

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        layers = self.prepare(layers)
        weighted: Iterable[Tensor] = layers
        if self.projection_dim is None:
            hidden = products(layers, self.hidden.weight)
        else:  # both products of a layer at once; W_l h_l is weighted, which is narrower than h_l
            both = products(layers, torch.cat([self.hidden.weight, self.projection.weight]))
            hidden = [part[..., : self.hidden_dim] for part in both]
            weighted = [part[..., self.hidden_dim :] for part in both]
        gates = self._gates(hidden)  # (L, B, T)
        with torch.no_grad():
            self.gate_sum += (gates * mask).sum((1, 2))  # (L,)
            self.gate_count += mask.sum()
        parts = [gate.unsqueeze(-1) * part for gate, part in zip(gates, weighted, strict=True)]
        return self.gamma * total(parts)  # (B, T, output_dim)

    def lambdas(self) -> Tensor:
        """Return the mean gates (L,) of real tokens since the last change of train or eval mode."""
        if self.gate_count == 0:
            return torch.full_like(self.gate_sum, 1 / self.num_layers)
        return self.gate_sum / self.gate_count
