"""Dropout whose mask costs little on a CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LEVELS = 2**16  # what 16 random bits can tell apart


class Dropout(nn.Module):
    """Zero each element with probability p, scale the others by 1/(1-p); nothing in eval mode.

    On a CPU `nn.Dropout` draws one number an element, in series, which took a tenth of a training
    step. Here 64 random bits serve four elements; p is rounded to 1/65536.

    Args:
        p: 0 or more and less than 1.
        shared: a dimension whose elements share one mask. Of states (B, T, H), 1 drops a number at
            every position of a sequence or at none: variational dropout (Gal and Ghahramani 2016).
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
    """A tensor of `shape`, of the kind of `like`: 0 with probability p, else 1/(1-p)."""
    if like.device.type != "cpu":
        return nn.functional.dropout(torch.ones(shape, dtype=like.dtype, device=like.device), p)
    dropped = min(round(p * LEVELS), LEVELS - 1)
    count = math.prod(shape)
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[:count].view(shape)
    keep = torch.empty(shape, dtype=like.dtype)  # of zeros and ones
    torch.ge(bits, dropped - LEVELS // 2, out=keep)
    return keep.mul_(LEVELS / (LEVELS - dropped))
