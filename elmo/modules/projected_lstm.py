"""The LSTM of the published ELMo: a clipped cell and a clipped projection (Sak et al. 2014).

`nn.LSTM(proj_size=...)` cannot clip. Here the input products of all steps are one matrix product,
and a step has one product with the recurrent weights, one with the projection, and few other
kernels; the gradient is written by hand for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from elmo.modules.dropout import Dropout
from elmo.modules.linear import product

FORGET_BIAS = 1.0  # added in the cell, as in TensorFlow: the stored bias stays that of the file
CHUNK = 2**22  # numbers of the input products that are held at a time without gradients


class Clips(NamedTuple):
    """The bounds of the cell and of the projected output; None for no bound."""

    cell: float | None
    projection: float | None


class Weights(NamedTuple):
    """The weights of a layer; gates in the order i, f, g, o, as in PyTorch."""

    inputs: Tensor  # (4 C, H)
    recurrent: Tensor  # (4 C, H)
    bias: Tensor  # (4 C,)
    projection: Tensor | None  # (H, C); None where C = H

    def to(self, dtype: torch.dtype) -> Weights:
        """Return the weights with the matrices in another dtype."""
        projection = None if self.projection is None else self.projection.to(dtype)
        return Weights(self.inputs.to(dtype), self.recurrent.to(dtype), self.bias, projection)


class ProjectedLSTM(nn.Module):
    """One LSTM layer of one direction, with a cell of width C and an output of width H.

    c = clip(sigmoid(f + 1) c + sigmoid(i) tanh(g)) and h = clip(W_hr (sigmoid(o) tanh(c))). Where
    C = H there is no projection, and h is not clipped.

    Args:
        dim: H, width of the input and of the output.
        cell_dim: C, width of the cell.
        clips: bounds of c and h.
    """

    def __init__(self, dim: int, cell_dim: int, clips: Clips) -> None:
        super().__init__()
        self.dim = dim
        self.cell_dim = cell_dim
        self.clips = clips
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * cell_dim, dim))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * cell_dim, dim))
        self.bias = nn.Parameter(torch.zeros(4 * cell_dim))
        self.weight_hr_l0: nn.Parameter | None = None
        if cell_dim != dim:
            self.weight_hr_l0 = nn.Parameter(torch.empty(dim, cell_dim))
            nn.init.xavier_uniform_(self.weight_hr_l0)
        # Glorot's bound for one kernel of both matrices, as in TensorFlow.
        bound = (6 / (2 * dim + 4 * cell_dim)) ** 0.5
        nn.init.uniform_(self.weight_ih_l0, -bound, bound)
        nn.init.uniform_(self.weight_hh_l0, -bound, bound)

    def forward(
        self, inputs: Tensor, counts: Sequence[int], h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs (T, B, H), zero after a row's end, and the last h and c of each row.

        Args:
            inputs: (T, B, H), the longest row first.
            counts: number of rows that have a token at each step (T,).
            h, c: the states before the first step, (B, H) and (B, C); they get no gradients.
        """
        weights = Weights(self.weight_ih_l0, self.weight_hh_l0, self.bias, self.weight_hr_l0)
        device = inputs.device.type
        mixed = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else c.dtype
        with torch.autocast(device, enabled=False):  # casts once here, not at each step
            inputs = inputs.to(c.dtype)
            if torch.is_grad_enabled():
                return _Recurrence.apply(inputs, *weights, counts, self.clips, dtype, h, c)
            return _run(inputs, weights.to(dtype), counts, self.clips, h, c, None)


class _Kept(NamedTuple):
    """What a forward pass keeps for the backward pass."""

    gates: Tensor  # (T, B, 4 C), activated
    cells: Tensor  # (T + 1, B, C), the first is the state before
    before: Tensor  # (T + 1, B, H), outputs, the first is the state before


def _run(
    inputs: Tensor,
    weights: Weights,
    counts: Sequence[int],
    clips: Clips,
    h: Tensor,
    c: Tensor,
    kept: _Kept | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run all steps; see `ProjectedLSTM.forward`. With `kept`, fill it."""
    steps, rows, width = len(inputs), len(h), c.shape[1]
    projection = weights.projection
    h, c = h.clone(), c.clone()
    outputs = inputs.new_zeros(steps, rows, h.shape[1])
    hidden = torch.empty_like(c)
    for start, gates in _input_products(inputs, weights, None if kept is None else kept.gates):
        for step, z in enumerate(gates, start):
            n = counts[step]
            z, state = z[:n], c[:n]
            z += product(h[:n].to(weights.recurrent.dtype), weights.recurrent)
            z[:, : 2 * width].sigmoid_()
            z[:, 2 * width : 3 * width].tanh_()
            z[:, 3 * width :].sigmoid_()
            i, f, g, o = z.split(width, 1)
            state.mul_(f).addcmul_(i, g)
            if clips.cell is not None:
                state.clamp_(-clips.cell, clips.cell)
            m = torch.tanh(state, out=hidden[:n]).mul_(o)
            if projection is None:
                h[:n] = m
            else:
                h[:n] = product(m.to(projection.dtype), projection)
            if projection is not None and clips.projection is not None:
                h[:n].clamp_(-clips.projection, clips.projection)
            outputs[step, :n] = h[:n]
            if kept is not None:
                kept.cells[step + 1] = c
                kept.before[step + 1] = h
    return outputs, h, c


def _input_products(
    inputs: Tensor, weights: Weights, out: Tensor | None
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first step of a chunk and its W_ih x + b (steps, B, 4 C), which may be changed."""
    steps, rows, _ = inputs.shape
    bias = weights.bias.clone()
    width = len(bias) // 4
    bias[width : 2 * width] += FORGET_BIAS
    size = steps if out is not None else max(1, CHUNK // (rows * len(bias)))
    buffer = inputs.new_empty(min(size, steps), rows, len(bias)) if out is None else out
    for start in range(0, steps, size):
        part = inputs[start : start + size].flatten(0, 1)  # (steps B, H)
        into = buffer[: len(part) // rows]
        found = product(part.to(weights.inputs.dtype), weights.inputs)
        torch.add(found, bias, out=into.view(len(part), -1))
        yield start, into


class _Recurrence(torch.autograd.Function):
    """`_run` with a gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        input_weight: Tensor,
        recurrent: Tensor,
        bias: Tensor,
        projection: Tensor | None,
        counts: Sequence[int],
        clips: Clips,
        dtype: torch.dtype,
        h: Tensor,
        c: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        weights = Weights(input_weight, recurrent, bias, projection).to(dtype)
        steps, rows, width = len(inputs), len(h), c.shape[1]
        kept = _Kept(
            inputs.new_zeros(steps, rows, 4 * width),
            inputs.new_zeros(steps + 1, rows, width),
            inputs.new_zeros(steps + 1, rows, h.shape[1]),
        )
        kept.cells[0], kept.before[0] = c, h
        outputs, h, c = _run(inputs, weights, counts, clips, h, c, kept)
        ctx.mark_non_differentiable(h, c)
        ctx.save_for_backward(inputs, *weights, *kept)
        ctx.counts, ctx.clips = counts, clips
        return outputs, h, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *saved = ctx.saved_tensors
        weights, kept = Weights(*saved[:4]), _Kept(*saved[4:])
        counts, clips = ctx.counts, ctx.clips
        steps, rows, width = len(inputs), inputs.shape[1], weights.recurrent.shape[0] // 4
        dtype = weights.inputs.dtype
        dz = torch.zeros_like(kept.gates)  # (T, B, 4 C), of the gates before their activation
        dh_all = torch.zeros_like(grad)  # (T, B, H), of the output before its clip
        dh_next = grad.new_zeros(rows, grad.shape[2])
        dc_next = grad.new_zeros(rows, width)
        for step in reversed(range(steps)):
            n = counts[step]
            dh = torch.add(grad[step, :n], dh_next[:n], out=dh_all[step, :n])
            if weights.projection is None:
                dm = dh
            else:
                if clips.projection is not None:
                    dh.masked_fill_(kept.before[step + 1, :n].abs() >= clips.projection, 0)
                dm = product(dh.to(dtype), weights.projection.t()).to(grad.dtype)  # (n, C)
            i, f, g, o = kept.gates[step, :n].split(width, 1)
            di, df, dg, do = dz[step, :n].split(width, 1)
            tanh = kept.cells[step + 1, :n].tanh()
            dc = dc_next[:n].add_(torch.ops.aten.tanh_backward(dm * o, tanh))
            if clips.cell is not None:
                dc.masked_fill_(kept.cells[step + 1, :n].abs() >= clips.cell, 0)
            _sigmoid_backward(dm * tanh, o, grad_input=do)
            _sigmoid_backward(dc * g, i, grad_input=di)
            _tanh_backward(dc * i, g, grad_input=dg)
            _sigmoid_backward(dc * kept.cells[step, :n], f, grad_input=df)
            dc.mul_(f)
            dh_next[:n] = product(dz[step, :n].to(dtype), weights.recurrent.t())
        flat = dz.flatten(0, 1).to(dtype)  # (T B, 4 C)
        before = kept.before[:-1].flatten(0, 1).to(dtype)
        d_projection = None
        if weights.projection is not None:
            hidden = kept.gates[..., 3 * width :] * kept.cells[1:].tanh()  # (T, B, C)
            flat_dh = dh_all.flatten(0, 1).to(dtype)  # (T B, H)
            d_projection = product(flat_dh.t(), hidden.flatten(0, 1).to(dtype).t())
        gradients = (
            product(flat, weights.inputs.t()).view_as(inputs),
            product(flat.t(), inputs.flatten(0, 1).to(dtype).t()),
            product(flat.t(), before.t()),
            dz.sum((0, 1)),
            d_projection,
        )
        typed = [None if gradient is None else gradient.to(grad.dtype) for gradient in gradients]
        return (*typed, None, None, None, None, None)


_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Memory:
    """The states h and c of each layer and row of a stack, kept from call to call."""

    def __init__(self) -> None:
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def read(self, layer: int, like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the states of the first B rows, zero for a new row.

        Args:
            layer: number of the layer, from 0.
            like: zeros, (B, H) and (B, C).
        """
        states = []
        for kept, zeros in zip(self._layers.get(layer, like), like, strict=True):
            states.append(torch.cat([kept[: len(zeros)], zeros[len(kept) :]]))
        return states[0], states[1]

    def write(self, layer: int, states: tuple[Tensor, Tensor]) -> None:
        """Keep the states of the first B rows; those of other rows stay."""
        before = self._layers.get(layer, states)
        self._layers[layer] = (
            torch.cat([states[0], before[0][len(states[0]) :]]),
            torch.cat([states[1], before[1][len(states[1]) :]]),
        )


class ProjectedStack(nn.Module):
    """The projected LSTM layers of one direction; each reads the output of the layer below.

    Args:
        dim, num_layers, dropout, residual, variational, weight_dropout: see `LSTMStack`.
        cell_dim: C, width of the cells.
        clips: see `ProjectedLSTM`.
    """

    def __init__(
        self,
        dim: int,
        num_layers: int,
        dropout: float,
        residual: bool,
        variational: bool,
        weight_dropout: float,
        cell_dim: int,
        clips: Clips,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.cell_dim = cell_dim
        self.layers = nn.ModuleList(ProjectedLSTM(dim, cell_dim, clips) for _ in range(num_layers))
        self.dropout = Dropout(dropout, shared=1 if variational else None)
        self.drop_weights = Dropout(weight_dropout)
        self.residual = residual

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, memory: Memory | None = None
    ) -> list[Tensor]:
        """Return the output (B, T, H) of each layer for inputs (B, T, H).

        Args:
            inputs: (B, T, H).
            lengths: number of real tokens of each row (B,); None for T. The outputs after them are
                zero, and need no time.
            memory: where the states before the first token come from, and those after the last
                token of each row go; None for zero.
        """
        rows, steps, _ = inputs.shape
        if lengths is None:
            lengths = torch.full((rows,), steps, device=inputs.device)
        order = lengths.argsort(descending=True, stable=True)
        back = torch.empty_like(order)
        back[order] = torch.arange(rows, device=order.device)
        positions = torch.arange(steps, device=order.device).unsqueeze(1)  # (T, 1)
        counts = (positions < lengths).sum(1).tolist()
        below = inputs.index_select(0, order).transpose(0, 1)  # (T, B, H)
        outputs: list[Tensor] = []
        zeros = below.new_zeros(rows, self.dim), below.new_zeros(rows, self.cell_dim)
        for number, lstm in enumerate(self.layers):
            h, c = zeros if memory is None else memory.read(number, zeros)
            weights = {"weight_hh_l0": self.drop_weights(lstm.weight_hh_l0)}
            given = (self.dropout(below.transpose(0, 1)).transpose(0, 1).contiguous(), counts)
            states, *last = functional_call(lstm, weights, (*given, h[order], c[order]))
            if memory is not None:
                memory.write(number, (last[0][back], last[1][back]))
            below = states + below if self.residual and outputs else states
            outputs.append(below)
        return [output.transpose(0, 1).index_select(0, back) for output in outputs]
