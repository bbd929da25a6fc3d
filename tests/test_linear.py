from __future__ import annotations

import pytest
import torch
from torch import nn

from elmo.linear import NARROWEST, Linear


@pytest.mark.parametrize("width", [NARROWEST - 1, NARROWEST, 160])
@pytest.mark.parametrize("count", [0, 1, 37])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_a_plain_layer(
    width: int, count: int, bias: bool
) -> None:
    torch.manual_seed(0)
    ours, plain = Linear(width, 50, bias=bias), nn.Linear(width, 50, bias=bias)
    plain.load_state_dict(ours.state_dict())
    inputs = torch.randn(count, width)
    found = []
    for layer in (ours, plain):
        given = inputs.clone().requires_grad_()
        outputs = layer(given)
        outputs.square().sum().backward()
        gradients = [parameter.grad for parameter in layer.parameters()]
        found.append([outputs.detach(), given.grad, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_rows_that_do_not_lie_side_by_side() -> None:
    torch.manual_seed(0)
    layer = Linear(96, 8)
    inputs = torch.randn(96, 40).T
    torch.testing.assert_close(
        layer(inputs), nn.functional.linear(inputs, layer.weight, layer.bias)
    )


def test_other_types_keep_theirs() -> None:
    layer = Linear(96, 8).double()
    assert layer(torch.randn(3, 96, dtype=torch.float64)).dtype == torch.float64
