from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from conftest import run_apart
from elmo.evaluation.language_model_scores import (
    DIRECTIONS,
    LanguageModelResult,
    LanguageModelScores,
    as_record,
)

V, N = 60, 700


class Targets:
    """Random targets of both directions, with guesses that are right more often than by chance."""

    def __init__(self, vocab_size: int = V, count: int = N, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        law = 1 / np.arange(1, vocab_size)  # word 0, padding, is never a target
        self.targets = 1 + random.choice(vocab_size - 1, (2, count), p=law / law.sum())
        self.top = np.stack(
            [[random.choice(vocab_size, 5, replace=False) for _ in range(count)] for _ in range(2)]
        )
        right = random.random((2, count)) < 0.3
        self.top[right, 0] = self.targets[right]
        self.nll = random.exponential(3, (2, count))
        self.positions = random.integers(0, 80, (2, count))

    def score(self, *cuts: int) -> LanguageModelResult:
        scores = LanguageModelScores(V)
        for part in np.split(np.arange(self.targets.shape[1]), cuts):
            fields = (self.nll, self.top, self.targets, self.positions)
            scores.update(*(torch.from_numpy(field[:, part].copy()) for field in fields))
        return scores.compute()

    def direction(self, name: str) -> tuple[np.ndarray, ...]:
        fields = (self.nll, self.top, self.targets, self.positions)
        if name == "together":
            return tuple(field.reshape(-1, *field.shape[2:]) for field in fields)
        return tuple(field[DIRECTIONS.index(name)] for field in fields)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_against_scikit_learn(direction: str) -> None:
    case = Targets()
    nll, top, targets, _ = case.direction(direction)
    macro = precision_recall_fscore_support(
        targets, top[:, 0], labels=np.unique(targets), average="macro", zero_division=0
    )
    expected = {
        "loss": nll.mean(),
        "perplexity": np.exp(nll.mean()),
        "accuracy": (top[:, 0] == targets).mean(),
        "top5_accuracy": (top == targets[:, None]).any(1).mean(),
        **dict(zip(("precision", "recall", "f1"), macro[:3], strict=True)),
    }
    ending = "" if direction == "together" else f"_{direction}"
    scalars = case.score(3, 300).scalars
    found = {name: scalars[f"{name}{ending}"] for name in expected}
    assert found == pytest.approx(expected, rel=1e-5)


def test_confusion_of_the_frequent_words_and_all_others() -> None:
    case = Targets()
    confusion = case.score(1).confusion
    assert confusion.shape == (3, 31, 31)
    for index, direction in enumerate(DIRECTIONS):
        _, top, targets, _ = case.direction(direction)
        # The first four ids are special, the next 30 the most frequent words.
        true, predicted = (
            np.where((words >= 4) & (words < 34), words - 4, 30) for words in (targets, top[:, 0])
        )
        reference = confusion_matrix(true, predicted, labels=np.arange(31))
        np.testing.assert_array_equal(confusion[index].numpy(), reference)


def test_perplexity_by_frequency() -> None:
    case = Targets()
    groups = {group.name: group for group in case.score(50).by_frequency}
    members = {
        "<unk>": [1],
        "<s> or </s>": [2, 3],
        "1 to 10": range(4, 14),
        "11 to 100": range(14, V),
    }
    assert list(groups) == list(members)
    for name, words in members.items():
        for index, direction in enumerate(DIRECTIONS):
            nll, _, targets, _ = case.direction(direction)
            inside = np.isin(targets, list(words))
            assert groups[name].targets[index] == inside.sum()
            expected = np.exp(nll[inside].mean())
            assert groups[name].perplexity[index] == pytest.approx(expected, rel=1e-5)


def test_perplexity_by_position() -> None:
    case = Targets()
    groups = {group.name: group for group in case.score().by_position}
    spans = {
        "0 (<s>)": (0, 0),
        "1": (1, 1),
        "2": (2, 2),
        "3 to 4": (3, 4),
        "5 to 8": (5, 8),
        "9 to 16": (9, 16),
        "17 to 32": (17, 32),
        "33 to 64": (33, 64),
        "65 on": (65, 10_000),
    }
    assert list(groups) == list(spans)
    for name, (first, last) in spans.items():
        for index, direction in enumerate(DIRECTIONS):
            nll, _, _, positions = case.direction(direction)
            inside = (positions >= first) & (positions <= last)
            assert groups[name].targets[index] == inside.sum()
            expected = np.exp(nll[inside].mean())
            assert groups[name].perplexity[index] == pytest.approx(expected, rel=1e-5)


def test_reset_forgets() -> None:
    case = Targets()
    fields = (case.nll, case.top, case.targets, case.positions)
    scores = LanguageModelScores(V)
    for _ in range(2):
        scores.reset()
        scores.update(*map(torch.from_numpy, fields))
    assert scores.compute().scalars == case.score().scalars


def test_a_loss_that_is_not_finite_shows() -> None:
    case = Targets()
    case.nll[0, 5] = np.nan
    case.nll[1, 5] = 1e6
    scalars = case.score().scalars
    assert np.isnan(scalars["perplexity_forward"])
    assert np.isinf(scalars["perplexity_backward"])
    assert np.isfinite(scalars["accuracy"])


def test_a_tiny_vocabulary() -> None:
    scores = LanguageModelScores(5)
    targets = torch.tensor([[4, 3], [2, 4]])
    top = torch.tensor([[[4, 1, 2], [4, 1, 2]], [[2, 1, 4], [1, 2, 3]]])
    scores.update(torch.ones(2, 2), top, targets, torch.tensor([[1, 2], [0, 1]]))
    result = scores.compute()
    assert result.confusion.tolist() == [[[1, 0], [1, 0]], [[0, 1], [0, 1]], [[1, 1], [1, 1]]]
    assert as_record(result)["perplexity_by_position"][0] == {
        "group": "0 (<s>)",
        "targets": {"forward": 0, "backward": 1, "together": 1},
        "perplexity": {
            "forward": pytest.approx(np.nan, nan_ok=True),
            "backward": pytest.approx(np.e),
            "together": pytest.approx(np.e),
        },
    }


def test_memory_grows_with_the_vocabulary_and_not_with_its_square() -> None:
    scores = LanguageModelScores(200_000)
    size = sum(getattr(scores, name).nbytes for name in scores._defaults)
    assert size < 49 * 200_000 + 100_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["FullSoftmax", "AdaptiveSoftmax"])
def test_an_evaluation_pass_is_bounded_at_a_vocabulary_of_200_000(kind: str) -> None:
    """600 targets would make 480 MB of logits, and several copies of them, if held at once."""
    code = f"""
import resource, torch
from elmo.data.batches import Batch
from elmo.modules.bilm import BiLM
from elmo.models.language_model import LanguageModel
from elmo.evaluation.language_model_scores import LanguageModelScores
from elmo.modules.softmax import {kind}
V = 200_000
model = LanguageModel(BiLM(V, 4, 4), {kind}(4, V)).eval()
scores = LanguageModelScores(V)
tokens, lengths = torch.randint(4, V, (10, 31)), torch.full((10,), 31)
rows = torch.arange(10)
scores.add(model, Batch(tokens[:1, :3], torch.full((1,), 3), rows[:1], rows[:1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
scores.add(model, Batch(tokens, lengths, rows, rows))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
assert scores.compute().scalars["perplexity"] > 1
"""
    finished = run_apart(["-c", code])
    assert finished.code == 0, finished.stderr
    assert int(finished.stdout) < 350  # MiB: a few chunks of 64 MiB
