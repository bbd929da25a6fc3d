from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from elmo.errors import ConfigError
from elmo.modules.mixers import (
    AverageMix,
    ConcatMix,
    LambdaMix,
    LayerMix,
    LearnedMix,
    Mixer,
    ProjectedMix,
    ScalarMix,
)

L, B, T, D = 3, 2, 5, 8
LAYER = partial(LayerMix, layer=0)
MASK = torch.tensor([[True] * 5, [True, True, True, False, False]])


@pytest.fixture
def layers() -> torch.Tensor:
    return torch.randn(L, B, T, D, generator=torch.Generator().manual_seed(0)) * 4 + 1


@pytest.mark.parametrize("layer_norm", [False, True])
def test_scalar_mix_against_numpy(layers: torch.Tensor, layer_norm: bool) -> None:
    mixer = ScalarMix(L, D, layer_norm=layer_norm)
    with torch.no_grad():
        mixer.weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
        mixer.gamma.fill_(1.7)
    inputs = layers.double().numpy()
    if layer_norm:
        mean, variance = inputs.mean(-1, keepdims=True), inputs.var(-1, keepdims=True)
        inputs = (inputs - mean) / np.sqrt(variance + 1e-5)
    exponent = np.exp([0.3, -1.0, 2.0])
    lambdas = exponent / exponent.sum()
    expected = 1.7 * sum(lambdas[i] * inputs[i] for i in range(L))
    np.testing.assert_allclose(mixer(layers, MASK).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mixer.lambdas().detach().numpy(), lambdas, rtol=1e-5)


def test_trainable_lambdas_start_equal_and_learn(layers: torch.Tensor) -> None:
    mixer = ScalarMix(L, D)
    torch.testing.assert_close(mixer.lambdas(), torch.full((L,), 1 / 3))
    mixer(layers, MASK).pow(2).sum().backward()
    assert mixer.weights.grad is not None
    assert mixer.weights.grad.abs().sum() > 0
    assert mixer.gamma.grad is not None


def test_frozen_lambdas_are_random_seeded_and_have_no_gradient() -> None:
    torch.manual_seed(5)
    mixer = ScalarMix(L, D, trainable=False, learn_gamma=False, seed=0)
    torch.rand(3)
    again = ScalarMix(L, D, trainable=False, seed=0)
    other = ScalarMix(L, D, trainable=False, seed=1)
    assert torch.equal(mixer.weights, again.weights)
    assert not torch.equal(mixer.weights, other.weights)
    assert not any(parameter.requires_grad for parameter in mixer.parameters())
    assert mixer.lambdas().sum().item() == pytest.approx(1)
    assert mixer.lambdas().std() > 0.01


def test_drawing_frozen_lambdas_leaves_the_global_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    ScalarMix(L, D, trainable=False, seed=0)
    assert torch.equal(torch.rand(1), expected)


def test_learned_mix_starts_at_the_average_and_depends_on_the_token(layers: torch.Tensor) -> None:
    torch.manual_seed(0)
    mixer = LearnedMix(L, D, layer_norm=False)
    torch.testing.assert_close(mixer(layers, MASK), layers.mean(0))
    torch.nn.init.normal_(mixer.gate.weight)
    gates = mixer.gates(layers)
    torch.testing.assert_close(gates.sum(0), torch.ones(B, T))
    assert gates[0].std() > 0.01


def test_learned_lambdas_are_the_mean_gate_of_real_tokens(layers: torch.Tensor) -> None:
    torch.manual_seed(0)
    mixer = LearnedMix(L, D)
    torch.nn.init.normal_(mixer.gate.weight)
    mixer.eval()
    mixer(layers, MASK)
    mixer(layers[:, :1], MASK[:1])
    gates = mixer.gates(layers)
    real = torch.cat([gates[:, MASK], gates[:, 0]], dim=1)
    torch.testing.assert_close(mixer.lambdas(), real.mean(1))
    mixer.train()
    torch.testing.assert_close(mixer.lambdas(), torch.full((L,), 1 / 3))


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("kind", [ScalarMix, LearnedMix, AverageMix, LAYER])
def test_an_embedding_is_the_sum_of_the_layers_by_their_gates(
    kind: Callable[..., Mixer], layer_norm: bool, layers: torch.Tensor
) -> None:
    torch.manual_seed(0)
    mixer = kind(L, D, layer_norm=layer_norm)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter)
    gates = mixer.gates(layers)
    assert gates.shape == (L, B, T)
    assert (gates >= 0).all()
    torch.testing.assert_close(gates.sum(0), torch.ones(B, T))
    summed = torch.einsum("lbt,lbtd->btd", gates, mixer.prepare(layers))
    torch.testing.assert_close(mixer(layers, MASK), mixer.scale * summed)


def test_gates_of_scalar_mix_are_its_lambdas(layers: torch.Tensor) -> None:
    mixer = ScalarMix(L, D, trainable=False, seed=0)
    assert (mixer.gates(layers) == mixer.lambdas()[:, None, None]).all()


def test_computing_gates_does_not_change_the_mean_gates(layers: torch.Tensor) -> None:
    mixer = LearnedMix(L, D).eval()
    torch.nn.init.normal_(mixer.gate.weight)
    mixer(layers, MASK)
    before = mixer.lambdas()
    mixer.gates(layers[:, :1])
    assert torch.equal(mixer.lambdas(), before)


@pytest.mark.parametrize("kind", [ScalarMix, LearnedMix, AverageMix, LAYER, ConcatMix])
def test_wrong_layers_are_refused(kind: Callable[..., Mixer], layers: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="built for 2 layers"):
        kind(2, D)(layers, MASK)
    with pytest.raises(ConfigError, match="width 9"):
        kind(L, 9)(layers, MASK)
    with pytest.raises(ConfigError, match="built for 1 layers"):
        kind(1, D).gates(layers)


def test_a_single_layer_is_that_layer(layers: torch.Tensor) -> None:
    for layer in range(L):
        mixer = LayerMix(L, D, layer, layer_norm=False)
        assert torch.equal(mixer(layers, MASK), layers[layer])
        assert mixer.lambdas().tolist() == [float(index == layer) for index in range(L)]
    with pytest.raises(ConfigError, match=r"mixer\.layer is 3; expected 0 or more and at most 2"):
        LayerMix(L, D, 3)


def test_a_single_layer_can_have_a_matrix(layers: torch.Tensor) -> None:
    mixer = LayerMix(L, D, 1, layer_norm=False, projection_dim=4)
    embeddings = mixer(layers, MASK)
    assert embeddings.shape == (B, T, mixer.output_dim) == (B, T, 4)
    expected = layers[1] @ mixer.projection.weight.T  # (B, T, 4)
    torch.testing.assert_close(embeddings, expected)


def test_the_concatenation_keeps_every_component(layers: torch.Tensor) -> None:
    mixer = ConcatMix(L, D, layer_norm=False)
    embeddings = mixer(layers, MASK)
    assert embeddings.shape == (B, T, mixer.output_dim) == (B, T, L * D)
    for layer, part in enumerate(embeddings.split(D, dim=-1)):
        assert torch.equal(part, layers[layer])
    normalised = ConcatMix(L, D)(layers, MASK).unflatten(-1, (L, D))
    torch.testing.assert_close(normalised.mean(-1), torch.zeros(B, T, L), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [AverageMix, LAYER, ConcatMix])
def test_mixers_without_weights_have_none(kind: Callable[..., Mixer]) -> None:
    mixer = kind(L, D)
    assert not list(mixer.parameters())
    assert not mixer.state_dict()
    assert mixer.scale == 1


def test_contradicting_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mixer\.seed"):
        ScalarMix(L, D, trainable=True, seed=0)
    with pytest.raises(ConfigError, match=r"mixer\.seed"):
        ScalarMix(L, D, trainable=False)
    with pytest.raises(ConfigError, match="hidden_dim"):
        LearnedMix(L, D, hidden_dim=0)


@pytest.mark.parametrize("kind", [ScalarMix, LearnedMix])
def test_gamma_stays_one_unless_learned(kind: Callable[..., Mixer], layers: torch.Tensor) -> None:
    mixer = kind(L, D, learn_gamma=False)
    mixer(layers, MASK).pow(2).sum().backward()
    assert mixer.scale.item() == 1
    assert mixer.scale.grad is None
    free = kind(L, D)
    free(layers, MASK).pow(2).sum().backward()
    assert free.scale.grad is not None


def test_frozen_lambdas_may_have_a_learned_gamma(layers: torch.Tensor) -> None:
    mixer = ScalarMix(L, D, trainable=False, learn_gamma=True, seed=0)
    mixer(layers, MASK).pow(2).sum().backward()
    assert mixer.gamma.grad is not None
    assert mixer.weights.grad is None


def test_a_projection_starts_at_the_average_and_is_linear(layers: torch.Tensor) -> None:
    mixer = ProjectedMix(L, D, layer_norm=False)
    torch.testing.assert_close(mixer(layers, MASK), layers.mean(0))
    torch.testing.assert_close(mixer.lambdas(), torch.full((L,), 1 / 3))
    assert mixer.scale.item() == pytest.approx(1)
    torch.nn.init.normal_(mixer.projection.weight)
    blocks = mixer.projection.weight.split(D, dim=1)
    expected = sum(layer @ block.T for layer, block in zip(layers, blocks, strict=True))
    torch.testing.assert_close(mixer(layers, MASK), expected)
    norms = torch.stack([block.norm() for block in blocks])
    torch.testing.assert_close(mixer.lambdas(), norms / norms.sum())


def test_a_projection_can_be_any_scalar_mix(layers: torch.Tensor) -> None:
    scalar, mixer = ScalarMix(L, D), ProjectedMix(L, D)
    with torch.no_grad():
        scalar.weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
        scalar.gamma.fill_(1.7)
        weights = scalar.gamma * scalar.lambdas()
        mixer.projection.weight.copy_(torch.cat([w * torch.eye(D) for w in weights], dim=1))
    torch.testing.assert_close(mixer(layers, MASK), scalar(layers, MASK))
    torch.testing.assert_close(mixer.lambdas(), scalar.lambdas())
    assert mixer.scale.item() == pytest.approx(1.7)


LAYER_DROPOUT: dict[str, Callable[..., Mixer]] = {
    "trainable": ScalarMix,
    "frozen": partial(ScalarMix, trainable=False, learn_gamma=False, seed=0),
    "average": AverageMix,
    "concat": ConcatMix,
    "projected": ProjectedMix,
    "learned": LearnedMix,
    "trainable, projected": partial(ScalarMix, projection_dim=6),
    "learned, projected": partial(LearnedMix, projection_dim=6),
}


@pytest.mark.parametrize("name", LAYER_DROPOUT)
def test_layer_dropout_zeros_whole_layers_only_in_training(layers: torch.Tensor, name: str) -> None:
    torch.manual_seed(0)
    mixer = LAYER_DROPOUT[name](L, D, layer_dropout=0.5)
    many = layers[:, :1].repeat(1, 200, 1, 1)
    prepared = mixer.prepare(many)
    zeros = (prepared == 0).flatten(2)  # (L, B, T D)
    assert torch.equal(zeros.all(2), zeros.any(2))
    assert 0.4 < zeros.all(2).float().mean() < 0.6
    kept = prepared[:, ~zeros.all(2).any(0)]
    torch.testing.assert_close(kept, 2 * mixer.eval().prepare(many)[:, : kept.shape[1]])


def test_layer_dropout_of_every_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"layer_dropout is 1.0"):
        ScalarMix(L, D, layer_dropout=1.0)


@pytest.mark.parametrize("kind", [ScalarMix, LearnedMix])
def test_lambdas_of_projected_layers(layers: torch.Tensor, kind: type[LambdaMix]) -> None:
    torch.manual_seed(0)
    mixer = kind(L, D, projection_dim=6)
    for parameter in mixer.parameters():
        if parameter.dim():
            torch.nn.init.normal_(parameter)
    gates, inputs = mixer.gates(layers), mixer.prepare(layers)
    expected = torch.zeros(B, T, 6)
    for layer in range(L):
        matrix = mixer.projection.weight[:, layer * D : (layer + 1) * D]
        expected += gates[layer].unsqueeze(-1) * (inputs[layer] @ matrix.T)
    torch.testing.assert_close(mixer(layers, MASK), expected)
    assert mixer.output_dim == 6
    with pytest.raises(ConfigError, match=r"projection_dim is 0"):
        kind(L, D, projection_dim=0)


def test_the_penalty_draws_trainable_lambdas_towards_equal_ones() -> None:
    assert ScalarMix(3, 8).penalty() is None
    mix = ScalarMix(3, 8, l2=0.5)
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([2.0, 0.0, -1.0]))
    penalty = mix.penalty()
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.5 * 5)
    penalty.backward()
    before = mix.lambdas().std()
    torch.optim.SGD([mix.weights], lr=0.1).step()
    assert mix.lambdas().std() < before
    with pytest.raises(ConfigError, match=r"mixer\.l2 is 0\.5 with frozen"):
        ScalarMix(3, 8, trainable=False, learn_gamma=False, seed=0, l2=0.5)
