"""Linear layers whose products oneDNN computes: on some processors twice as fast as MKL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Multiplications of a product from which its call is worth more than it costs.
LARGE = 2**20
# Elements of a gradient that are transposed at a time: oneDNN copies them.
BLOCK = 2**22


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return left right^T + bias (N, O) without a gradient, given (N, I), (O, I) and (O,).

    PyTorch's own products of single precision go through MKL, which on an AMD EPYC reached half of
    the rate of oneDNN (benchmarks/README.md). Products of other types, on other devices and small
    ones are PyTorch's.
    """
    if suits_onednn(left, right):
        return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return functional.linear(left, right, bias)


def suits_onednn(left: Tensor, right: Tensor) -> bool:
    """Tell whether oneDNN computes the product of (N, I) and (O, I)."""
    return (
        left.dtype == right.dtype == torch.float32
        and left.device.type == right.device.type == "cpu"
        and len(left) * right.numel() >= LARGE
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
    )


class _Linear(torch.autograd.Function):
    """`product` with gradients."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return product(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors  # (N, I), (O, I)
        needs_inputs, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if needs_inputs else None,  # (N, I)
            _weight_gradient(grad, inputs) if needs_weight else None,  # (O, I)
            grad.sum(0) if needs_bias else None,  # (O,)
        )


def _weight_gradient(grad: Tensor, inputs: Tensor) -> Tensor:
    """Return grad^T inputs (O, I), given (N, O) and (N, I)."""
    columns = max(64, BLOCK // max(1, len(grad)))
    turned = inputs.t()
    blocks = [product(part.t(), turned) for part in grad.split(columns, 1)]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return inputs weight^T + bias (..., O), as `torch.nn.functional.linear`, with gradients.

    Args:
        inputs: (..., I).
        weight: (O, I).
        bias: (O,), or None for zero.
    """
    rows = inputs.reshape(-1, inputs.shape[-1])  # (N, I)
    if not suits_onednn(rows, weight) or torch.is_autocast_enabled(inputs.device.type):
        return functional.linear(inputs, weight, bias)
    compute = _Linear.apply if torch.is_grad_enabled() else product
    return compute(rows, weight, bias).view(*inputs.shape[:-1], len(weight))


class Linear(nn.Linear):
    """`nn.Linear` by `linear`: the same weights under the same names."""

    @classmethod
    def like(cls, layer: nn.Linear) -> Linear:
        """Return a layer that has the weights of another, and draws none."""
        with torch.device("meta"):
            new = cls(layer.in_features, layer.out_features, layer.bias is not None)
        new.weight, new.bias = layer.weight, layer.bias
        return new

    def forward(self, inputs: Tensor) -> Tensor:
        return linear(inputs, self.weight, self.bias)
