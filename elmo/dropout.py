"""Dropout whose mask costs little on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 2**16  # what 16 random bits can tell apart


class Dropout(nn.Module):
    """Zero each element with probability p, scale the others by 1/(1-p); nothing in eval mode.

    On a CPU `nn.Dropout` draws one number an element, in series, which took a tenth of a training
    step. Here 64 random bits serve four elements; p is rounded to 1/65536.

    Args:
        p: 0 or more and less than 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return inputs
        if inputs.device.type != "cpu":
            return nn.functional.dropout(inputs, self.p)
        dropped = min(round(self.p * LEVELS), LEVELS - 1)
        words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: inputs.numel()].view(inputs.shape)
        keep = torch.empty(inputs.shape, dtype=inputs.dtype)  # of zeros and ones
        torch.ge(bits, dropped - LEVELS // 2, out=keep)
        return inputs * keep.mul_(LEVELS / (LEVELS - dropped))

    def extra_repr(self) -> str:
        return f"p={self.p}"
