"""The metrics of both tasks as torchmetrics, which add up over batches and processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from elmo.data.batches import Batch
from elmo.models.classifier import TextClassifier

CALIBRATION_BINS = 15


class TokenMean(MeanMetric):
    """The mean over tokens or rows; it gets no padding, so every value counts once.

    A value that is not finite is kept, so that the mean shows it.
    """

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")


class Perplexity(TokenMean):
    """The perplexity, exp(sum of negative log-likelihoods / number of targets).

    `update` takes the negative log-likelihoods in nats (N,).
    """

    def compute(self) -> Tensor:
        return super().compute().exp()


def language_model_metrics() -> MetricCollection:
    """Return loss (nats per token), and perplexity per direction and together."""
    return MetricCollection(
        {
            "loss": TokenMean(),
            "perplexity": Perplexity(),
            "perplexity_forward": Perplexity(),
            "perplexity_backward": Perplexity(),
        },
        compute_groups=False,
    )


def update_directions(metrics: MetricCollection, name: str, values: Tensor) -> None:
    """Update the metric `name` and that of each direction with values (2, N), forward first."""
    metrics[name].update(values)
    metrics[f"{name}_forward"].update(values[0])
    metrics[f"{name}_backward"].update(values[1])


def classification_metrics(num_classes: int, calibration: bool = False) -> MetricCollection:
    """Return accuracy over rows (micro), and precision, recall and F1 over classes (macro).

    Args:
        calibration: add the expected calibration error (Guo et al. 2017); `update` must get
            probabilities then.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": MulticlassAccuracy(num_classes, average="micro"),
        "precision": MulticlassPrecision(num_classes, average="macro"),
        "recall": MulticlassRecall(num_classes, average="macro"),
        "f1": MulticlassF1Score(num_classes, average="macro"),
    }
    if calibration:
        metrics["ece"] = MulticlassCalibrationError(num_classes, CALIBRATION_BINS, norm="l1")
    return MetricCollection(metrics)


def per_class_metrics(num_classes: int) -> MetricCollection:
    """Return precision, recall and F1 of each class (C,), and the confusion matrix.

    The matrix counts rows, (C true, C predicted).
    """
    return MetricCollection(
        {
            "precision": MulticlassPrecision(num_classes, average=None),
            "recall": MulticlassRecall(num_classes, average=None),
            "f1": MulticlassF1Score(num_classes, average=None),
            "confusion": MulticlassConfusionMatrix(num_classes),
        }
    )


def probability_metrics(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Return log loss (nats), accuracy, macro scores and calibration error of (N, C), (N,)."""
    metrics = classification_metrics(probabilities.shape[1], calibration=True)
    loss = torch.nn.functional.nll_loss(probabilities.log(), labels)
    return {
        "loss": loss.item(),
        **{name: value.item() for name, value in metrics(probabilities, labels).items()},
    }


def evaluate_classifier(model: TextClassifier, batches: Iterable[Batch]) -> dict[str, float]:
    """Return accuracy and macro precision, recall and F1 of a classifier on batches."""
    metrics = classification_metrics(len(model.class_names))
    for batch in batches:
        metrics.update(model.logits(batch).cpu(), batch.label)
    return {name: value.item() for name, value in metrics.compute().items()}
