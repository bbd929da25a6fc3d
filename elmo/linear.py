"""A linear layer that uses all of a CPU's vector width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

NARROWEST = 64  # inputs; for fewer the plain product is faster


class Linear(nn.Linear):
    """`nn.Linear`, on a CPU computed as a convolution of size 1: the same sums.

    PyTorch multiplies matrices by MKL, which takes half of the vector width on processors that are
    not Intel's, and convolves by oneDNN, which takes all of it: on an AMD EPYC the products of the
    adaptive softmax took half the time, forward and back.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs (N, in_features) -> (N, out_features)."""
        count, width = inputs.shape
        if (
            inputs.device.type != "cpu"
            or inputs.dtype != torch.float32
            or width < NARROWEST
            or count == 0
            or not torch.backends.mkldnn.is_available()
        ):
            return super().forward(inputs)
        # As an image of one line and N columns, its channels side by side in memory.
        image = inputs.view(1, 1, count, width).permute(0, 3, 1, 2)  # (1, in, 1, N)
        kernel = self.weight.view(*self.weight.shape, 1, 1)
        found = functional.conv2d(image, kernel, self.bias)  # (1, out, 1, N)
        return found.permute(0, 2, 3, 1).reshape(count, self.out_features)
