from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from elmo.errors import ConfigError
from elmo.modules.bilm import BiLM, LSTMStack, reverse_sequences

TOKENS = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 9, 10, 3, 0, 0]])
LENGTHS = torch.tensor([6, 4])


def halves(layers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Split layers (L, B, T, D) into forward and backward half, (L, B, T, H) each."""
    forward, backward = layers.chunk(2, dim=-1)
    return forward, backward


def test_shape_and_layer_zero(bilm: BiLM) -> None:
    layers = bilm(TOKENS, LENGTHS)
    assert layers.shape == (3, 2, 6, 16)
    projected = bilm.projection(bilm.embedding(TOKENS))
    assert torch.equal(layers[0], torch.cat([projected, projected], dim=-1))


def test_embedding_of_the_same_width_is_not_projected() -> None:
    bilm = BiLM(40, embedding_dim=8, hidden_dim=8, dropout=0.0)
    assert torch.equal(bilm(TOKENS, LENGTHS)[0][..., :8], bilm.embedding(TOKENS))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("position", range(6))
def test_no_direction_sees_its_future(position: int, residual: bool) -> None:
    """Changing token t leaves every forward state before and every backward state after it."""
    torch.manual_seed(0)
    bilm = BiLM(40, 6, 8, num_layers=3, residual=residual).eval()
    changed = TOKENS.clone()
    changed[0, position] = 30
    forward, backward = halves(bilm(TOKENS, LENGTHS))
    new_forward, new_backward = halves(bilm(changed, LENGTHS))
    assert torch.equal(forward[:, 0, :position], new_forward[:, 0, :position])
    assert torch.equal(backward[:, 0, position + 1 :], new_backward[:, 0, position + 1 :])
    # Without a change elsewhere the test could not fail.
    assert not torch.equal(forward[1:, 0, position:], new_forward[1:, 0, position:])
    assert not torch.equal(backward[1:, 0, : position + 1], new_backward[1:, 0, : position + 1])


def test_documents_of_a_batch_are_independent(bilm: BiLM) -> None:
    changed = TOKENS.clone()
    changed[0, 1:5] = 30
    assert torch.equal(bilm(TOKENS, LENGTHS)[:, 1], bilm(changed, LENGTHS)[:, 1])


@pytest.mark.parametrize("padding", [1, 7, 50])
def test_padding_changes_no_real_position(bilm: BiLM, padding: int) -> None:
    padded = nn.functional.pad(TOKENS, (0, padding))
    layers, more = bilm(TOKENS, LENGTHS), bilm(padded, LENGTHS)
    for document, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(
            layers[:, document, :length], more[:, document, :length], rtol=0, atol=1e-6
        )


def test_alone_or_in_a_batch(bilm: BiLM) -> None:
    alone = bilm(TOKENS[1:, :4], LENGTHS[1:])
    torch.testing.assert_close(alone[:, 0], bilm(TOKENS, LENGTHS)[:, 1, :4], rtol=0, atol=1e-6)


def test_equals_packed_lstms(bilm: BiLM) -> None:
    """The reference is PyTorch's packed sequences, with each document reversed by hand."""
    inputs = bilm.projection(bilm.embedding(TOKENS))
    layers = bilm(TOKENS, LENGTHS)
    for document, length in enumerate(LENGTHS.tolist()):
        sequence = inputs[document, :length].unsqueeze(0)
        for stack, order in ((bilm.forward_lstm, 1), (bilm.backward_lstm, -1)):
            states = sequence if order == 1 else sequence.flip(1)
            half = slice(0, 8) if order == 1 else slice(8, 16)
            for layer, lstm in enumerate(stack.layers, start=1):
                packed = nn.utils.rnn.pack_padded_sequence(
                    states, torch.tensor([length]), batch_first=True
                )
                output, _ = nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True)
                states = output + states if layer > 1 else output
                expected = states if order == 1 else states.flip(1)
                torch.testing.assert_close(layers[layer, document, :length, half], expected[0])


def test_residual_starts_at_the_second_layer() -> None:
    torch.manual_seed(0)
    plain, residual = LSTMStack(4, 2, 0.0, residual=False), LSTMStack(4, 2, 0.0, residual=True)
    residual.load_state_dict(plain.state_dict())
    inputs = torch.randn(1, 3, 4)
    (first, second), (same, summed) = plain(inputs), residual(inputs)
    assert torch.equal(first, same)
    torch.testing.assert_close(summed, second + first)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_reverse_sequences_is_its_own_inverse(lengths: list[int]) -> None:
    inputs = torch.arange(len(lengths) * 7).view(len(lengths), 7, 1)
    reversed_ = reverse_sequences(inputs, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        assert torch.equal(reversed_[row, :length], inputs[row, :length].flip(0))
        assert torch.equal(reversed_[row, length:], inputs[row, length:])
    assert torch.equal(reverse_sequences(reversed_, torch.tensor(lengths)), inputs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_dim": -1},
        {"embedding_dim": 0},
        {"num_layers": 0},
        {"dropout": 1.5},
        {"weight_dropout": 1.0},
        {"word_dropout": -0.1},
    ],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BiLM(vocab_size=10, **wrong)


def test_word_dropout_zeros_a_word_everywhere_or_nowhere() -> None:
    torch.manual_seed(0)
    bilm = BiLM(40, 8, 8, dropout=0.0, word_dropout=0.4)
    tokens = torch.arange(4, 40).repeat(2, 3)  # each word six times
    inputs = bilm.both_directions(tokens, torch.tensor([108, 108]))[0][0]
    zeros = (inputs == 0).all(-1)
    assert 0 < zeros.float().mean() < 1
    for word in range(4, 40):
        assert len(set(zeros[tokens == word].tolist())) == 1
    assert not (bilm.eval().both_directions(tokens, torch.tensor([108, 108]))[0][0] == 0).any()


def test_dropped_recurrent_weights_get_no_gradient_and_keep_their_values() -> None:
    torch.manual_seed(0)
    stack = LSTMStack(8, 1, 0.0, residual=True, weight_dropout=0.5)
    (lstm,) = stack.layers
    before = {name: value.clone() for name, value in lstm.state_dict().items()}
    stack(torch.randn(2, 5, 8))[0].sum().backward()
    gradient = lstm.get_parameter("weight_hh_l0").grad
    assert gradient is not None
    assert 0.3 < gradient.eq(0).float().mean() < 0.7
    assert all(torch.equal(before[name], value) for name, value in lstm.state_dict().items())
    inputs = torch.randn(2, 5, 8)
    torch.testing.assert_close(stack.eval()(inputs)[0], lstm(inputs)[0])


@pytest.mark.parametrize("variational", [False, True])
def test_variational_dropout_has_one_mask_for_each_sequence(variational: bool) -> None:
    torch.manual_seed(0)
    stack = LSTMStack(64, 1, 0.5, residual=True, variational=variational)
    recorded: list[torch.Tensor] = []
    stack.dropout.register_forward_hook(lambda *call: recorded.append(call[-1] == 0))
    stack(torch.ones(2, 5, 64))
    (zeros,) = recorded
    assert 0.3 < zeros.float().mean() < 0.7
    assert torch.equal(zeros, zeros[:, :1].expand_as(zeros)) == variational
    assert not torch.equal(zeros[0], zeros[1])  # documents have different masks
