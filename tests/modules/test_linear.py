from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from elmo.modules import linear as module
from elmo.modules.linear import LARGE, Linear, linear, product, suits_onednn

SHAPES = [(300, 64, 96), (1, 1024, 1024), (4096, 4, 64), (128, 130, 77)]


@pytest.fixture
def onednn_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The numbers of rows and columns of the products that oneDNN computes."""
    calls: list[tuple[int, int]] = []

    def noted(left: Tensor, right: Tensor) -> bool:
        suits = suits_onednn(left, right)
        if suits:
            calls.append((len(left), len(right)))
        return suits

    monkeypatch.setattr(module, "suits_onednn", noted)
    return calls


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("block", [module.BLOCK, 5000])
def test_values_and_gradients_are_those_of_pytorch(
    shape: tuple[int, int, int],
    has_bias: bool,
    block: int,
    onednn_calls: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    torch.manual_seed(0)
    rows, width, outputs = shape
    inputs, weight = torch.randn(rows, width), torch.randn(outputs, width)
    bias = torch.randn(outputs) if has_bias else None
    upstream = torch.randn(rows, outputs)
    found = []
    for function in (linear, functional.linear):
        leaves = [t.clone().requires_grad_() for t in (inputs, weight, bias) if t is not None]
        result = function(*leaves)
        result.backward(upstream)
        found.append([result, *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*found, strict=True):
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
    assert (rows, outputs) in onednn_calls
    with torch.no_grad():
        torch.testing.assert_close(linear(inputs, weight, bias), found[0][0])


def test_leading_dimensions_stay(onednn_calls: list[tuple[int, int]]) -> None:
    inputs, layer = torch.randn(7, 40, 64), Linear(64, 96)
    expected = functional.linear(inputs, layer.weight, layer.bias)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-4, atol=1e-4)
    assert onednn_calls == [(280, 96), (280, 96)]  # asked before, and in the product
    turned = inputs.transpose(0, 1)
    torch.testing.assert_close(layer(turned), expected.transpose(0, 1), rtol=1e-4, atol=1e-4)


def test_frozen_weights_get_no_gradient() -> None:
    layer = Linear(64, 96).requires_grad_(False)
    inputs = torch.randn(300, 64, requires_grad=True)
    layer(inputs).sum().backward()
    assert layer.weight.grad is None
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad[0], layer.weight.sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_pytorch(dtype: torch.dtype) -> None:
    left, right = torch.randn(300, 64, dtype=dtype), torch.randn(96, 64, dtype=dtype)
    assert not suits_onednn(left, right)
    assert product(left, right).equal(functional.linear(left, right))


def test_small_products_are_left_to_pytorch() -> None:
    rows = LARGE // (64 * 96)
    right = torch.randn(96, 64)
    assert not suits_onednn(torch.randn(rows, 64), right)
    assert suits_onednn(torch.randn(rows + 1, 64), right)


def test_autocast_decides_as_for_pytorch() -> None:
    layer = Linear(64, 96)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(300, 64)).dtype == torch.bfloat16


def test_like_has_the_weights_and_draws_none() -> None:
    layer = nn.Linear(5, 7)
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    new = Linear.like(layer)
    assert new.weight is layer.weight
    assert new.bias is layer.bias
    assert torch.rand(3).equal(expected)
    assert Linear.like(nn.Linear(5, 7, bias=False)).bias is None
