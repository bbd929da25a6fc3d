from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from elmo.data.batches import Batch
from elmo.data.text import BOS, EOS
from elmo.evaluation.metrics import language_model_metrics, update_directions
from elmo.models.artifacts import load_artifact
from elmo.models.language_model import LanguageModel, load_language_model
from elmo.modules.bilm import BiLM
from elmo.modules.softmax import AdaptiveSoftmax, FullSoftmax
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.language_model_task import LanguageModelTask

TOKENS = torch.tensor([[BOS, 5, 6, 7, 8, EOS], [BOS, 9, 10, EOS, 0, 0]])
LENGTHS = torch.tensor([6, 4])


@pytest.fixture
def model(bilm: BiLM) -> LanguageModel:
    return LanguageModel(bilm, FullSoftmax(8, 40)).eval()


def test_targets_are_neighbours_and_never_padding(model: LanguageModel) -> None:
    _, targets = model.hidden_and_targets(TOKENS, LENGTHS)
    assert targets[0].tolist() == [5, 6, 7, 8, EOS, 9, 10, EOS]
    assert targets[1].tolist() == [BOS, 5, 6, 7, 8, BOS, 9, 10]


def test_loss_of_a_word_does_not_depend_on_the_word_itself(model: LanguageModel) -> None:
    """The state that predicts position t does not depend on the word at t."""
    changed = TOKENS.clone()
    changed[0, 3] = 30
    hidden, _ = model.hidden_and_targets(TOKENS, LENGTHS)
    new, _ = model.hidden_and_targets(changed, LENGTHS)
    # Forward predicts position 3 from its state at 2, backward from its state at 4.
    assert torch.equal(hidden[0, 2], new[0, 2])
    assert torch.equal(hidden[1, 3], new[1, 3])
    assert not torch.equal(hidden[0, 3], new[0, 3])
    assert not torch.equal(hidden[1, 2], new[1, 2])


def test_padding_does_not_change_the_loss(model: LanguageModel) -> None:
    nll = model(TOKENS, LENGTHS)
    assert nll.shape == (2, int(LENGTHS.sum()) - 2)
    torch.testing.assert_close(model(pad(TOKENS, (0, 20)), LENGTHS), nll)


def test_the_words_around_a_place_are_all_that_is_read_there(model: LanguageModel) -> None:
    chosen = torch.zeros_like(TOKENS, dtype=torch.bool)
    chosen[0, [1, 4]] = chosen[1, 2] = True  # first and last word of one text, last of the other
    found = model.log_probs_between(TOKENS, LENGTHS, chosen)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(3))
    layers = model.bilm(TOKENS, LENGTHS)[-1]  # (B, T, D), forward half first
    for index, (text, place) in enumerate(chosen.nonzero().tolist()):
        before, after = layers[text, place - 1, :8], layers[text, place + 1, 8:]
        each = model.softmax.log_prob(torch.stack([before, after]))
        torch.testing.assert_close(found[index], each.sum(0).log_softmax(0))
        changed = TOKENS.clone()
        changed[text, place] = 30
        again = model.log_probs_between(changed, LENGTHS, chosen)
        torch.testing.assert_close(again[index], found[index])


def test_perplexity_against_numpy(model: LanguageModel) -> None:
    """The reference is computed word by word; only the layers come from the code under test."""
    weight, bias = (p.detach().double().numpy() for p in model.softmax.parameters())
    layers = model.bilm(TOKENS, LENGTHS)[-1].detach().double().numpy()
    sums = {"forward": 0.0, "backward": 0.0}
    count = 0
    for row, length in enumerate(LENGTHS.tolist()):
        for t in range(length - 1):
            count += 1
            for direction, state, target in (
                ("forward", layers[row, t, :8], TOKENS[row, t + 1]),
                ("backward", layers[row, t + 1, 8:], TOKENS[row, t]),
            ):
                logits = weight @ state + bias
                sums[direction] -= logits[target] - np.log(np.exp(logits).sum())
    metrics = language_model_metrics()
    for row in range(2):  # two batches of different size
        nll = model(TOKENS[row : row + 1], LENGTHS[row : row + 1]).detach()
        metrics["loss"].update(nll)
        update_directions(metrics, "perplexity", nll)
    values = {name: value.item() for name, value in metrics.compute().items()}
    mean = sum(sums.values()) / (2 * count)
    assert values["loss"] == pytest.approx(mean, rel=1e-5)
    assert values["perplexity"] == pytest.approx(np.exp(mean), rel=1e-5)
    for direction, total in sums.items():
        assert values[f"perplexity_{direction}"] == pytest.approx(np.exp(total / count), rel=1e-5)


def test_overfits_one_batch() -> None:
    torch.manual_seed(0)
    bilm = BiLM(40, 16, 16, dropout=0.0)
    model = LanguageModel(bilm, AdaptiveSoftmax(16, 40))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        model(TOKENS, LENGTHS).mean().backward()
        optimizer.step()
    nll = model.eval()(TOKENS, LENGTHS)
    # The first word of a text cannot be predicted from <s>, nor the last from </s>.
    assert nll[0, [1, 2, 3, 4, 6, 7]].max() < 0.1
    assert nll[1, [0, 1, 2, 3, 5, 6]].max() < 0.1


def test_every_parameter_has_a_gradient() -> None:
    torch.manual_seed(0)
    task = LanguageModelTask(
        LanguageModel(BiLM(40, 6, 8), FullSoftmax(8, 40)),
        optimizer=partial(torch.optim.AdamW, lr=1e-3),
        warmup=0.1,
    )
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    batch = Batch(TOKENS, LENGTHS, torch.zeros(2), torch.arange(2))
    task.training_step(batch, 0).backward()
    unused = [name for name, p in task.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_the_loaded_model_has_the_logged_perplexity(
    pretrained: Path, toy_validation: list[Batch]
) -> None:
    run = latest_run(pretrained, "toy")
    model = load_language_model(run)
    tokenizer = model.tokenizer
    metrics = read_record(run)["metrics"]
    with torch.no_grad():
        nll = torch.cat([model(batch.tokens, batch.lengths) for batch in toy_validation], dim=1)
    assert metrics["val/perplexity"] == pytest.approx(nll.double().mean().exp().item(), rel=1e-4)
    for direction, values in zip(("forward", "backward"), nll, strict=True):
        expected = values.double().mean().exp().item()
        assert metrics[f"val/perplexity_{direction}"] == pytest.approx(expected, rel=1e-4)
    assert len(tokenizer) == read_record(run)["data"]["vocabulary_size"]


def test_the_loaded_model_has_the_logged_accuracy(
    pretrained: Path, toy_validation: list[Batch]
) -> None:
    run = latest_run(pretrained, "toy")
    model = load_language_model(run)
    hits = []
    with torch.no_grad():
        for batch in toy_validation:
            hidden, targets = model.hidden_and_targets(batch.tokens, batch.lengths)
            best = model.softmax.log_prob(hidden.flatten(0, 1)).argmax(1)
            hits.append(best == targets.flatten())
    expected = torch.cat(hits).double().mean().item()
    assert read_record(run)["metrics"]["val/accuracy"] == pytest.approx(expected, abs=1e-6)


def test_artifact_names_its_data(pretrained: Path) -> None:
    run = latest_run(pretrained, "toy")
    facts = load_artifact(run, "bilm")["facts"]
    assert facts["data"]["name"] == "toy"
    assert set(facts["data"]["unknown_rate"]) == {"train", "validation", "test"}
