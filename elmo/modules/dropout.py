"""Dropout with a mask that is cheap to draw on a CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LEVELS = 2**16  # the values of 16 random bits


class Dropout(nn.Module):
    """Dropout: zeros each element with probability p and scales the others by 1/(1-p).

    On a CPU `nn.Dropout` draws one random number for each element, one after another, which took a
    tenth of a training step. Here 64 random bits serve four elements; p is rounded to 1/65536. In
    eval mode the inputs are returned unchanged.

    Args:
        p: probability of a zero, 0 or more and less than 1.
        shared: dimension along which all elements share one mask. With 1, states (B, T, H) lose a
            unit at every position of a sequence or at none: variational dropout (Gal and Ghahramani
            2016).
    """

    def __init__(self, p: float, shared: int | None = None) -> None:
        super().__init__()
        self.p = p
        self.shared = shared

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return inputs
        shape = list(inputs.shape)
        if self.shared is not None:
            shape[self.shared] = 1
        return inputs * _mask(shape, self.p, inputs)

    def extra_repr(self) -> str:
        return f"p={self.p}, shared={self.shared}"


def _mask(shape: list[int], p: float, like: Tensor) -> Tensor:
    """Return a mask with dtype and device of `like`: 0 with probability p, otherwise 1/(1-p)."""
    if like.device.type != "cpu":
        return nn.functional.dropout(torch.ones(shape, dtype=like.dtype, device=like.device), p)
    dropped = min(round(p * LEVELS), LEVELS - 1)
    count = math.prod(shape)
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[:count].view(shape)
    keep = torch.empty(shape, dtype=like.dtype)  # zeros and ones
    torch.ge(bits, dropped - LEVELS // 2, out=keep)
    return keep.mul_(LEVELS / (LEVELS - dropped))
