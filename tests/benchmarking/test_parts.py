"""The shares of the parts of a training step sum to one and go to the right part."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.parts import REST, marked, recorded, shares_of_parts
from elmo.models.language_model import LanguageModel
from elmo.modules.bilm import BiLM
from elmo.modules.softmax import FullSoftmax

TOKENS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]])
LENGTHS = torch.tensor([5, 4])


def shares(model: LanguageModel) -> dict[str, float]:
    with marked(model), profile(activities=[ProfilerActivity.CPU]) as profiler:
        loss = recorded(REST, lambda: model(TOKENS, LENGTHS).mean())()
        loss.backward()
    return shares_of_parts(profiler.events(), seconds=100.0)


def test_shares_sum_to_one_and_name_every_part() -> None:
    model = LanguageModel(BiLM(40, 8, 8), FullSoftmax(8, 40))
    parts = shares(model)
    assert {"embedding", "LSTMs", "dropout", "softmax", "rest of the model", REST} <= set(parts)
    assert sum(parts.values()) == pytest.approx(1)


def test_the_backward_pass_belongs_to_the_part_of_its_forward_pass() -> None:
    """A softmax that is slow in its backward pass only is a slow softmax."""
    model = LanguageModel(BiLM(40, 8, 8), FullSoftmax(8, 40))
    shares(model)  # the first call of an operation costs more
    before = shares(model)

    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.clone()

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
            large = torch.randn(700, 700)
            return gradient + 0 * (large @ large).sum()

    class SlowBack(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return Slow.apply(inputs)

    model.softmax.output = nn.Sequential(model.softmax.output, SlowBack())  # type: ignore[arg-type]
    after = shares(model)
    grown = {name: after[name] - before.get(name, 0) for name in after if name != REST}
    assert max(grown, key=grown.__getitem__) == "softmax"


def test_the_model_is_as_before_afterwards() -> None:
    model = LanguageModel(BiLM(40, 8, 8), FullSoftmax(8, 40))
    shares(model)
    assert not any("forward" in vars(module) for module in model.modules())
