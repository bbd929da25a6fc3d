from __future__ import annotations

import math

import pytest
import torch

from elmo.modules.dropout import Dropout


@pytest.fixture
def inputs() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(50, 40, 101, requires_grad=True)


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_share_of_zeros_and_scale(inputs: torch.Tensor, p: float) -> None:
    out = Dropout(p)(inputs)
    dropped = (out == 0).double().mean().item()
    assert dropped == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / inputs.numel()))
    kept = out != 0
    torch.testing.assert_close(out[kept], inputs[kept] / (1 - p), rtol=1e-4, atol=0)


def test_elements_are_dropped_independently(inputs: torch.Tensor) -> None:
    """Four elements share a draw of 64 bits, so they have to be uncorrelated."""
    drawn = (Dropout(0.5)(torch.ones(400_000)) == 0).double().view(-1, 4)
    correlation = torch.corrcoef(drawn.T)
    assert (correlation - torch.eye(4)).abs().max() < 5 / math.sqrt(100_000)
    assert (drawn.mean(0) - 0.5).abs().max() < 2.5 / math.sqrt(100_000)


def test_gradients_are_dropped_with_their_inputs(inputs: torch.Tensor) -> None:
    out = Dropout(0.3)(inputs)
    out.sum().backward()
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad * inputs.detach(), out.detach())


def test_masks_follow_the_seed_and_differ_each_time(inputs: torch.Tensor) -> None:
    dropout = Dropout(0.3)
    torch.manual_seed(1)
    first, second = dropout(inputs), dropout(inputs)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(inputs))
    assert not torch.equal(first, second)


def test_inputs_are_unchanged_in_eval_mode_or_at_zero(inputs: torch.Tensor) -> None:
    assert Dropout(0.5).eval()(inputs) is inputs
    assert Dropout(0.0)(inputs) is inputs


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_keeps_the_dtype(dtype: torch.dtype) -> None:
    assert Dropout(0.5)(torch.ones(7, 3, dtype=dtype)).dtype == dtype
