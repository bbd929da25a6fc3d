from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from elmo.modules import projected_lstm
from elmo.modules.projected_lstm import FORGET_BIAS, Clips, Memory, ProjectedLSTM, ProjectedStack

LENGTHS = torch.tensor([3, 6, 1, 5])
NO_CLIPS, CLIPS = Clips(None, None), Clips(0.3, 0.2)


def stack_of(
    dim: int = 4,
    cell_dim: int = 7,
    clips: Clips = CLIPS,
    layers: int = 2,
    residual: bool = True,
    dtype: torch.dtype = torch.float64,
) -> ProjectedStack:
    """Weights so large that both clips act."""
    torch.manual_seed(0)
    stack = ProjectedStack(dim, layers, 0.0, residual, False, 0.0, cell_dim=cell_dim, clips=clips)
    for parameter in stack.parameters():
        nn.init.normal_(parameter, std=0.6)
    return stack.to(dtype)


def inputs_of(dim: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(4, 6, dim, dtype=dtype)


def real(outputs: list[Tensor]) -> Tensor:
    """The outputs of all layers at real positions."""
    mask = torch.arange(6) < LENGTHS[:, None]
    return torch.stack(outputs)[:, mask]


def step_by_step(
    stack: ProjectedStack, inputs: Tensor, lengths: Tensor
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """The outputs of each layer, and its last h and c: as the format is described, row by row."""
    layers: list[Tensor] = []
    last = []
    below = inputs
    for lstm in stack.layers:
        assert isinstance(lstm, ProjectedLSTM)
        out = torch.zeros_like(below)
        ends = []
        for row, length in enumerate(lengths.tolist()):
            h, c = inputs.new_zeros(lstm.dim), inputs.new_zeros(lstm.cell_dim)
            for t in range(length):
                z = lstm.weight_ih_l0 @ below[row, t] + lstm.weight_hh_l0 @ h + lstm.bias
                i, f, g, o = z.chunk(4)
                c = (f + 1).sigmoid() * c + i.sigmoid() * g.tanh()
                if lstm.clips.cell is not None:
                    c = c.clamp(-lstm.clips.cell, lstm.clips.cell)
                h = o.sigmoid() * c.tanh()
                if lstm.weight_hr_l0 is not None:
                    h = lstm.weight_hr_l0 @ h
                    if lstm.clips.projection is not None:
                        h = h.clamp(-lstm.clips.projection, lstm.clips.projection)
                out[row, t] = h + below[row, t] if stack.residual and layers else h
            ends.append(torch.cat([h, c]))
        layers.append(out)
        last.append(ends)
        below = out
    return layers, last


SHAPES = pytest.mark.parametrize(
    ("cell_dim", "clips"),
    [(7, CLIPS), (7, NO_CLIPS), (7, Clips(0.3, None)), (7, Clips(None, 0.2)), (4, CLIPS)],
    ids=["clips", "no clips", "cell", "projection", "no projection"],
)


@SHAPES
@pytest.mark.parametrize("residual", [True, False])
@torch.no_grad()
def test_equals_a_loop_over_rows_and_steps(cell_dim: int, clips: Clips, residual: bool) -> None:
    stack = stack_of(cell_dim=cell_dim, clips=clips, layers=3, residual=residual)
    expected, _ = step_by_step(stack, inputs_of(), LENGTHS)
    found = stack(inputs_of(), LENGTHS)
    torch.testing.assert_close(real(found), real(expected), rtol=0, atol=1e-14)
    whole, _ = step_by_step(stack, inputs_of(), torch.tensor([6, 6, 6, 6]))
    torch.testing.assert_close(torch.stack(stack(inputs_of())), torch.stack(whole))


@torch.no_grad()
def test_clips_act_and_are_kept() -> None:
    """Otherwise the comparison says nothing of them."""
    stack = stack_of(layers=1)
    clipped = real(stack(inputs_of(), LENGTHS))
    assert clipped.abs().max() == 0.2
    assert 0.1 < (clipped.abs() == 0.2).double().mean() < 0.9
    for clips in (Clips(None, 0.2), Clips(0.3, None)):
        other = real(stack_of(layers=1, clips=clips)(inputs_of(), LENGTHS))
        assert (other - clipped).abs().max() > 0.01


@SHAPES
def test_gradients_equal_finite_differences(cell_dim: int, clips: Clips) -> None:
    stack = stack_of(cell_dim=cell_dim, clips=clips)
    names = [name for name, _ in stack.named_parameters()]
    tensors = [inputs_of().requires_grad_(), *stack.parameters()]

    def outputs(inputs: Tensor, *parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters, strict=True))
        return real(torch.func.functional_call(stack, state, (inputs, LENGTHS)))

    assert torch.autograd.gradcheck(outputs, tensors, eps=1e-6, atol=1e-7)


@SHAPES
def test_gradients_equal_those_of_the_loop(cell_dim: int, clips: Clips) -> None:
    """Beyond what finite differences show: with many steps, to the last digits."""
    stack = stack_of(cell_dim=cell_dim, clips=clips, layers=3)
    one, other = inputs_of().requires_grad_(), inputs_of().requires_grad_()
    real(stack(one, LENGTHS)).pow(2).sum().backward()
    found = [parameter.grad for parameter in stack.parameters()]
    stack.zero_grad()
    expected, _ = step_by_step(stack, other, LENGTHS)
    real(expected).pow(2).sum().backward()
    for a, b in zip([one.grad, *found], [other.grad, *(p.grad for p in stack.parameters())],
                    strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert one.grad is not None
    assert not one.grad[0, 3:].any()  # after the end of a row


@SHAPES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_with_and_without_gradients(
    cell_dim: int, clips: Clips, dtype: torch.dtype
) -> None:
    stack = stack_of(cell_dim=cell_dim, clips=clips, dtype=dtype)
    inputs = inputs_of(dtype=dtype)
    with torch.no_grad():
        without = stack(inputs, LENGTHS)
    with_gradients = stack(inputs, LENGTHS)
    assert with_gradients[-1].requires_grad
    for one, other in zip(without, with_gradients, strict=True):
        assert torch.equal(one, other)
        assert not one[0, 3:].any()


def test_equals_the_lstm_of_pytorch() -> None:
    """Without clips; its forget gate has no bias of its own, so it is in the weights there."""
    for cell_dim, size in ((7, 4), (4, 0)):
        stack = stack_of(cell_dim=cell_dim, clips=NO_CLIPS, layers=1)
        (lstm,) = stack.layers
        theirs = nn.LSTM(4, cell_dim, proj_size=size, batch_first=True).double()
        state = lstm.state_dict()
        bias = state.pop("bias").clone()
        bias[cell_dim : 2 * cell_dim] += FORGET_BIAS
        theirs.load_state_dict({**state, "bias_ih_l0": bias, "bias_hh_l0": torch.zeros_like(bias)})
        expected, _ = theirs(inputs_of())
        torch.testing.assert_close(stack(inputs_of())[0], expected, rtol=0, atol=1e-14)


@torch.no_grad()
def test_chunks_of_steps_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = stack_of()
    whole = stack(inputs_of(), LENGTHS)
    monkeypatch.setattr(projected_lstm, "CHUNK", 2 * 4 * 28)  # two steps
    for one, other in zip(stack(inputs_of(), LENGTHS), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


@torch.no_grad()
def test_rows_are_independent_of_each_other_and_of_padding() -> None:
    stack, inputs = stack_of(), inputs_of()
    together = stack(inputs, LENGTHS)
    inputs[1] = 9.0
    inputs[0, 3:] = float("nan")  # padding is never read
    for one, other in zip(stack(inputs, LENGTHS), together, strict=True):
        torch.testing.assert_close(one[[0, 2, 3]], other[[0, 2, 3]], rtol=0, atol=1e-14)
    (alone, _) = stack(inputs[3:, :5], LENGTHS[3:])
    torch.testing.assert_close(alone, together[0][3:, :5], rtol=0, atol=1e-14)


def test_half_precision_is_close() -> None:
    """The products are in bfloat16, the state is not."""
    stack = stack_of(dtype=torch.float32, clips=Clips(3.0, 3.0))
    inputs = inputs_of(dtype=torch.float32).requires_grad_()
    expected = real(stack(inputs, LENGTHS))
    expected.sum().backward()
    gradients = [parameter.grad for parameter in stack.parameters()]
    stack.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        found = real(stack(inputs, LENGTHS))
        with torch.no_grad():
            without = real(stack(inputs, LENGTHS))
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, without, rtol=0, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)
    found.sum().backward()
    for parameter, gradient in zip(stack.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert gradient is not None
        assert parameter.grad.dtype == torch.float32
        assert (parameter.grad - gradient).norm() < 0.05 * gradient.norm()


@torch.no_grad()
def test_a_memory_continues_each_row_where_it_ended() -> None:
    """Two calls are one longer call; rows that are not there keep their state, new ones start."""
    stack, inputs, memory = stack_of(), inputs_of(), Memory()
    whole = stack(inputs)
    first = stack(inputs[:, :2], memory=memory)
    second = stack(inputs[:2, 2:4], memory=memory)  # rows 2 and 3 wait
    third = stack(inputs[2:, 2:4])  # without a memory nothing is kept or changed
    back = stack(torch.cat([inputs[:2, 4:], inputs[2:, 2:4]]), memory=memory)
    for layer in range(2):
        torch.testing.assert_close(first[layer], whole[layer][:, :2])
        torch.testing.assert_close(second[layer], whole[layer][:2, 2:4])
        torch.testing.assert_close(back[layer][:2], whole[layer][:2, 4:])
        torch.testing.assert_close(back[layer][2:], whole[layer][2:, 2:4])
        assert not torch.allclose(third[layer], whole[layer][2:, 2:4])
    more = stack(torch.cat([inputs, inputs[:1]])[:, :1], memory=memory)
    torch.testing.assert_close(more[0][4:], whole[0][:1, :1])


@torch.no_grad()
def test_a_memory_holds_the_states_at_the_ends_of_ragged_rows() -> None:
    """h without the sum of the skip connection, and h and c after their clips."""
    stack, memory = stack_of(), Memory()
    stack(inputs_of(), LENGTHS, memory)
    _, last = step_by_step(stack, inputs_of(), LENGTHS)
    like = torch.zeros(4, 4).double(), torch.zeros(4, 7).double()
    for layer, ends in enumerate(last):
        found = torch.cat(memory.read(layer, like), 1)
        torch.testing.assert_close(found, torch.stack(ends), rtol=0, atol=1e-14)


def test_dropped_recurrent_weights_get_no_gradient_and_keep_their_values() -> None:
    torch.manual_seed(0)
    stack = ProjectedStack(8, 1, 0.0, True, False, 0.5, cell_dim=12, clips=CLIPS)
    (lstm,) = stack.layers
    before = {name: value.clone() for name, value in lstm.state_dict().items()}
    stack(torch.randn(2, 5, 8))[0].sum().backward()
    gradient = lstm.get_parameter("weight_hh_l0").grad
    assert gradient is not None
    assert 0.3 < gradient.eq(0).float().mean() < 0.7
    assert all(torch.equal(before[name], value) for name, value in lstm.state_dict().items())


@pytest.mark.parametrize("variational", [False, True])
def test_variational_dropout_has_one_mask_for_each_sequence(variational: bool) -> None:
    torch.manual_seed(0)
    stack = ProjectedStack(64, 1, 0.5, True, variational, 0.0, cell_dim=64, clips=NO_CLIPS)
    recorded: list[Tensor] = []
    stack.dropout.register_forward_hook(lambda *call: recorded.append(call[-1] == 0))
    stack(torch.ones(2, 5, 64))
    (zeros,) = recorded
    assert 0.3 < zeros.float().mean() < 0.7
    assert torch.equal(zeros, zeros[:, :1].expand_as(zeros)) == variational
    assert not torch.equal(zeros[0], zeros[1])
