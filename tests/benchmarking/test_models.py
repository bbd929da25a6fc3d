"""The peers of the benchmarks compute the same as our models."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.models import Textbook, model_flops, pack, random_batches
from elmo.data.batches import Batch, pad
from elmo.data.classification_data import ClassificationData
from elmo.data.corpora.toy import ToyNews
from elmo.data.text import BOS, EOS
from elmo.models.language_model import LanguageModel
from elmo.modules.bilm import BiLM, reverse_sequences
from elmo.modules.softmax import AdaptiveSoftmax

VOCAB = 400
LENGTHS = torch.tensor([9, 4, 6])


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(BiLM(VOCAB, 8, 8, dropout=0.0), AdaptiveSoftmax(8, VOCAB))


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    documents = [
        torch.cat([torch.tensor([BOS]), torch.randint(4, VOCAB, (n - 2,)), torch.tensor([EOS])])
        for n in LENGTHS.tolist()
    ]
    tokens, lengths = pad([ids.numpy() for ids in documents])
    return Batch(tokens, lengths, torch.zeros(3), torch.arange(3))


def test_packed_stacks_give_the_same_losses(model: LanguageModel, batch: Batch) -> None:
    expected = model(batch.tokens, batch.lengths)
    set_lengths = pack(model.bilm)
    set_lengths(batch.lengths)
    torch.testing.assert_close(model(batch.tokens, batch.lengths), expected)


def test_flops_of_the_softmax_equal_the_count_of_pytorch(
    model: LanguageModel, batch: Batch
) -> None:
    hidden, targets = model.hidden_and_targets(batch.tokens, batch.lengths)
    hidden = hidden.detach().flatten(0, 1).requires_grad_()
    assert isinstance(model.softmax, AdaptiveSoftmax)
    output = model.softmax.output  # its rows are not rounded up
    with FlopCounterMode(display=False) as counter:
        (-output(hidden, targets.flatten()).output).mean().backward()
    lstms = 3 * 2 * 2 * 8 * 8 * (8 + 8) * int(LENGTHS.sum())
    assert model_flops(model, batch) == counter.get_total_flops() + lstms


def test_a_projection_adds_flops(batch: Batch) -> None:
    torch.manual_seed(0)
    plain, projected = (
        LanguageModel(BiLM(VOCAB, dim, 8, dropout=0.0), AdaptiveSoftmax(8, VOCAB)) for dim in (8, 5)
    )
    more = model_flops(projected, batch) - model_flops(plain, batch)
    assert more == 3 * 2 * 5 * 8 * int(LENGTHS.sum())


def test_padding_adds_no_flops(model: LanguageModel, batch: Batch) -> None:
    padded = batch._replace(tokens=torch.nn.functional.pad(batch.tokens, (0, 7)))
    assert model_flops(model, padded) == model_flops(model, batch)


def test_textbook_counts_the_same_targets_and_no_padding(batch: Batch) -> None:
    torch.manual_seed(0)
    model = Textbook(VOCAB, 8).eval()
    losses = model(batch.tokens, reverse_sequences(batch.tokens, batch.lengths))
    sums = torch.zeros(2)
    for ids, length in zip(batch.tokens, LENGTHS.tolist(), strict=True):
        alone = ids[:length].unsqueeze(0)
        sums += model(alone, alone.flip(1)) * (length - 1)
    torch.testing.assert_close(losses, sums / (LENGTHS - 1).sum())


def test_random_batches_are_padded_and_mirrored(toy: ToyNews) -> None:
    data = ClassificationData(
        corpus=toy, tokenizer=toy.tokenizer, token_budget=100, num_workers=0, seed=0
    )
    tokens, mirrored, real = next(random_batches(data.splits["train"], size=32, seed=0))
    lengths = (tokens != 0).sum(1)
    assert tokens.shape[0] == 32
    assert int(lengths.sum()) == real
    assert torch.equal(reverse_sequences(tokens, lengths), mirrored)
    assert len(set(lengths.tolist())) > 3  # not sorted by length, as in most code of students
