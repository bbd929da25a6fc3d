from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from elmo.evaluation.metrics import Perplexity, classification_metrics, per_class_metrics


def test_perplexity_weighs_tokens_not_batches() -> None:
    values = np.random.default_rng(0).exponential(4, size=1000)
    metric = Perplexity()
    for part in np.split(values, [3, 10, 700]):
        metric.update(torch.from_numpy(part).float())
    assert metric.compute().item() == pytest.approx(np.exp(values.mean()), rel=1e-5)


def test_perplexity_shows_a_loss_that_is_not_finite() -> None:
    metric = Perplexity()
    metric.update(torch.tensor([1.0, torch.nan]))
    assert metric.compute().isnan()


def test_classification_against_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels = random.choice(4, size=500, p=[0.6, 0.2, 0.15, 0.05])  # macro and micro must differ
    logits = random.normal(size=(500, 4)) + 1.5 * np.eye(4)[labels]
    predicted = logits.argmax(1)
    scalars, per_class = classification_metrics(4), per_class_metrics(4)
    for part in np.split(np.arange(500), [100, 350]):
        for metrics in (scalars, per_class):
            metrics.update(torch.from_numpy(logits[part]), torch.from_numpy(labels[part]))
    found = {name: value.item() for name, value in scalars.compute().items()}
    macro = precision_recall_fscore_support(labels, predicted, average="macro")
    expected = dict(zip(("precision", "recall", "f1"), macro[:3], strict=True))
    assert found == pytest.approx({**expected, "accuracy": accuracy_score(labels, predicted)})
    single = precision_recall_fscore_support(labels, predicted)
    values = per_class.compute()
    for name, reference in zip(("precision", "recall", "f1"), single[:3], strict=True):
        np.testing.assert_allclose(values[name].numpy(), reference, rtol=1e-5)
    np.testing.assert_array_equal(values["confusion"].numpy(), confusion_matrix(labels, predicted))
