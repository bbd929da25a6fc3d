from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from elmo.errors import ConfigError
from elmo.modules.softmax import (
    AdaptiveSoftmax,
    FullSoftmax,
    SampledSoftmax,
    Softmax,
    _missing,
)

DIM, VOCAB = 16, 500
KINDS = (FullSoftmax, AdaptiveSoftmax, SampledSoftmax)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def softmax(request: pytest.FixtureRequest) -> Softmax:
    torch.manual_seed(0)
    return request.param(DIM, VOCAB).eval()


@pytest.fixture
def hidden() -> torch.Tensor:
    return torch.randn(64, DIM, generator=torch.Generator().manual_seed(1)) * 3


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.randint(VOCAB, (64,), generator=torch.Generator().manual_seed(2))


def test_probabilities_sum_to_one(softmax: Softmax, hidden: torch.Tensor) -> None:
    log_prob = softmax.log_prob(hidden)
    assert log_prob.shape == (64, VOCAB)
    torch.testing.assert_close(log_prob.exp().sum(1), torch.ones(64))


def test_loss_is_minus_log_prob(
    softmax: Softmax, hidden: torch.Tensor, targets: torch.Tensor
) -> None:
    expected = -softmax.log_prob(hidden)[torch.arange(64), targets]
    torch.testing.assert_close(softmax(hidden, targets), expected)


def test_predict_and_topk(softmax: Softmax, hidden: torch.Tensor) -> None:
    log_prob = softmax.log_prob(hidden)
    assert torch.equal(softmax.predict(hidden), log_prob.argmax(1))
    assert torch.equal(softmax.topk(hidden, 5), log_prob.topk(5).indices)


@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
@pytest.mark.parametrize("k", [1, 4, 11, 60, VOCAB])
def test_topk_misses_no_more_probable_word(
    softmax: Softmax, hidden: torch.Tensor, k: int, scale: float
) -> None:
    log_prob = softmax.log_prob(hidden * scale)
    words = softmax.topk(hidden * scale, k)
    assert all(len(set(row)) == k for row in words.tolist())
    torch.testing.assert_close(log_prob.gather(1, words), log_prob.topk(k).values)


@pytest.mark.parametrize("chunk", [2**22, 7 * VOCAB])
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
def test_hits_are_the_targets_that_are_predicted(
    softmax: Softmax,
    hidden: torch.Tensor,
    targets: torch.Tensor,
    scale: float,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of the targets are what is predicted, in the head and in every cluster."""
    monkeypatch.setattr("elmo.modules.softmax.CHUNK", chunk)
    if isinstance(softmax, AdaptiveSoftmax):  # its clusters are seldom predicted untrained
        short = softmax.output.shortlist_size
        with torch.no_grad():
            softmax.output.head.bias[short:] += 2
            for cluster in softmax.output.tail:
                for weight in cluster.parameters():
                    weight.mul_(3)
    predicted = softmax.predict(hidden * scale)
    targets[::2] = predicted[::2]
    hits = softmax.hits(hidden * scale, targets, softmax(hidden * scale, targets))
    assert torch.equal(hits, predicted == targets)
    assert hits[::2].all()
    assert not hits.all()
    if isinstance(softmax, AdaptiveSoftmax) and scale > 0.01:
        assert predicted.min() < short <= predicted.max()


@pytest.mark.parametrize("k", [0, VOCAB + 1])
def test_topk_of_no_or_too_many_words(softmax: Softmax, hidden: torch.Tensor, k: int) -> None:
    with pytest.raises(ConfigError, match=f"topk of {k} words; expected 1 to V = {VOCAB}"):
        softmax.topk(hidden, k)


def test_chunks_change_nothing(
    softmax: Softmax,
    hidden: torch.Tensor,
    targets: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = softmax.log_prob(hidden), softmax.topk(hidden, 9), softmax(hidden, targets)
    monkeypatch.setattr("elmo.modules.softmax.CHUNK", 7 * VOCAB)
    with torch.no_grad():
        chunked = softmax.log_prob(hidden), softmax.topk(hidden, 9), softmax(hidden, targets)
    for expected, actual in zip(whole, chunked, strict=True):
        torch.testing.assert_close(actual, expected)


def test_full_softmax_against_numpy(hidden: torch.Tensor, targets: torch.Tensor) -> None:
    torch.manual_seed(0)
    softmax = FullSoftmax(DIM, VOCAB)
    weight = softmax.output.weight.detach().double().numpy()
    logits = hidden.double().numpy() @ weight.T + softmax.output.bias.detach().double().numpy()
    shifted = logits - logits.max(1, keepdims=True)
    log_prob = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    expected = -log_prob[np.arange(64), targets.numpy()]
    np.testing.assert_allclose(softmax(hidden, targets).detach().numpy(), expected, rtol=1e-4)


def test_adaptive_softmax_against_its_definition(hidden: torch.Tensor) -> None:
    """p(word) is p(head entry), or p(cluster) p(word | cluster), computed from the weights."""
    torch.manual_seed(0)
    softmax = AdaptiveSoftmax(DIM, VOCAB).eval()
    output = softmax.output
    head = (hidden @ output.head.weight.T + output.head.bias).log_softmax(1)
    short = output.shortlist_size
    blocks = [head[:, :short]]
    for index, tail in enumerate(output.tail):
        narrow, wide = tail.parameters()
        inside = (hidden @ narrow.T @ wide.T).log_softmax(1)
        blocks.append(head[:, short + index, None] + inside)
    torch.testing.assert_close(softmax.log_prob(hidden), torch.cat(blocks, 1))


@pytest.mark.parametrize("vocab_size", [3, 5, 20, 100, 23_000, 200_000])
def test_adaptive_cutoffs_follow_the_vocabulary(vocab_size: int) -> None:
    softmax = AdaptiveSoftmax(8, vocab_size)
    loss = softmax(torch.randn(4, 8), torch.tensor([0, 1, 2, vocab_size - 1]))
    assert torch.isfinite(loss).all()
    *cutoffs, end = softmax.output.cutoffs
    assert end == vocab_size
    assert cutoffs[0] > 0
    assert cutoffs[0] <= 240  # the head stays short, however large V is
    assert cutoffs[-1] <= max(1, vocab_size / 1.2)


@pytest.mark.parametrize("vocab_size", [23_000, 22_296, 200_000])
def test_the_matrices_of_the_adaptive_softmax_have_aligned_rows(vocab_size: int) -> None:
    output = AdaptiveSoftmax(200, vocab_size).output
    clusters = [[layer.out_features for layer in cluster.children()] for cluster in output.tail]
    widths, rows = zip(*clusters, strict=True)
    assert widths[:4] == (128, 80, 48, 32)  # near 125, 78.1, 48.8, 30.5
    assert {width % 8 for width in widths} == {0}
    assert {count % 16 for count in (output.head.out_features, *rows[:-1])} == {0}


def test_clusters_of_a_narrow_model_are_not_empty() -> None:
    output = AdaptiveSoftmax(2, 200_000).output
    assert {next(cluster.children()).out_features for cluster in output.tail} == {1}


@pytest.mark.parametrize("count", [1, 127, 128, 700])
def test_adaptive_losses_and_gradients_are_those_of_pytorch(count: int) -> None:
    """Rows that are rounded up change nothing, nor do targets that leave a cluster empty."""
    torch.manual_seed(5)
    softmax = AdaptiveSoftmax(64, 2000)
    hidden = torch.randn(count, 64) * 2
    for targets in (torch.randint(2000, (count,)), torch.randint(300, (count,))):
        found = []
        for loss in (
            lambda states, words=targets: softmax(states, words),
            lambda states, words=targets: -softmax.output(states, words).output,
        ):
            states = hidden.clone().requires_grad_()
            softmax.zero_grad()
            nll = loss(states)
            (nll * torch.arange(1, count + 1)).sum().backward()
            gradients = [weight.grad for weight in softmax.parameters()]
            zeros = [torch.zeros_like(weight) for weight in softmax.parameters()]
            found.append([
                nll.detach(), states.grad,
                *(z if g is None else g for g, z in zip(gradients, zeros, strict=True)),
            ])  # fmt: skip
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)


def test_rows_are_rounded_up_by_less_than_as_many() -> None:
    """A few rows of a large cluster would otherwise cost as much as 64."""
    assert [_missing(count, 64) for count in (1, 2, 5, 33, 64, 65, 130)] == [0, 0, 3, 31, 0, 63, 62]


def test_sampled_loss_tends_to_the_full_loss(hidden: torch.Tensor, targets: torch.Tensor) -> None:
    torch.manual_seed(0)
    full = SampledSoftmax(DIM, VOCAB).eval()
    # Half of the targets are probable words, so counting a target twice would change the loss.
    targets = torch.where(torch.arange(64) % 2 == 0, full.predict(hidden), targets)
    exact = full(hidden, targets)
    errors = []
    for samples in (20, 20_000):
        torch.manual_seed(0)
        softmax = SampledSoftmax(DIM, VOCAB, samples=samples)
        draws = torch.stack([softmax.train()(hidden, targets) for _ in range(20)])
        errors.append((draws.mean(0) - exact).abs().mean().item())
    assert errors[1] < 0.02
    assert errors[1] < errors[0] / 4


def test_sampling_is_log_uniform() -> None:
    softmax = SampledSoftmax(DIM, VOCAB, samples=1000)
    expected = softmax._log_expected(torch.arange(VOCAB)).exp()
    assert expected.sum().item() == pytest.approx(1000, rel=1e-4)
    assert expected[0].item() == pytest.approx(1000 * math.log(2) / math.log(VOCAB + 1), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_trains_to_the_target(kind: type[Softmax]) -> None:
    torch.manual_seed(0)
    softmax = kind(DIM, VOCAB)
    hidden = torch.randn(8, DIM)
    targets = torch.tensor([1, 2, 3, 9, 50, 100, 300, 499])
    optimizer = torch.optim.Adam(softmax.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        softmax(hidden, targets).mean().backward()
        optimizer.step()
    assert softmax.eval()(hidden, targets).max().item() < 0.1
    assert torch.equal(softmax.predict(hidden), targets)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision(
    softmax: Softmax, hidden: torch.Tensor, targets: torch.Tensor, dtype: torch.dtype
) -> None:
    expected = softmax(hidden, targets)
    with torch.autocast("cpu", dtype=dtype):
        half = hidden.to(dtype)
        torch.testing.assert_close(softmax(half, targets).float(), expected, rtol=0.05, atol=0.05)
        assert (softmax.predict(half) == softmax.predict(hidden)).float().mean() > 0.9
        softmax.train()(half.requires_grad_(), targets).mean().backward()


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="div_value"):
        AdaptiveSoftmax(8, 100, div_value=0.5)
    with pytest.raises(ConfigError, match="V is 2"):
        AdaptiveSoftmax(8, 2)
    with pytest.raises(ConfigError, match="samples"):
        SampledSoftmax(8, 100, samples=0)
