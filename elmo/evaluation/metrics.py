"""The figures of both tasks, as torchmetrics, so that they add up over batches and processes."""

from __future__ import annotations

from collections.abc import Iterable

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
    """Mean over tokens or rows; padding never gets here, so every value counts once.

    A value that is not finite stays in, so that the mean shows it.
    """

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")


class Perplexity(TokenMean):
    """exp(sum of negative log-likelihoods / number of targets); `update` takes the former (N,)."""

    def compute(self) -> Tensor:
        return super().compute().exp()


def language_model_metrics() -> MetricCollection:
    """Loss (nats a token) and perplexity, per direction and together."""
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
    """Update the metric `name` and its two halves with (2, N): forward, backward."""
    metrics[name].update(values)
    metrics[f"{name}_forward"].update(values[0])
    metrics[f"{name}_backward"].update(values[1])


def classification_metrics(num_classes: int, calibration: bool = False) -> MetricCollection:
    """Accuracy over the rows (micro); precision, recall and F1 as the mean over classes (macro).

    Args:
        calibration: the expected calibration error, too (Guo et al. 2017); `update` has to get
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
    """Precision, recall, F1 of each class (C,), and the confusion matrix (C true, C predicted)."""
    return MetricCollection(
        {
            "precision": MulticlassPrecision(num_classes, average=None),
            "recall": MulticlassRecall(num_classes, average=None),
            "f1": MulticlassF1Score(num_classes, average=None),
            "confusion": MulticlassConfusionMatrix(num_classes),
        }
    )


def evaluate_classifier(model: TextClassifier, batches: Iterable[Batch]) -> dict[str, float]:
    """Return accuracy and macro precision, recall and F1 of a classifier on batches."""
    metrics = classification_metrics(len(model.class_names))
    for batch in batches:
        metrics.update(model.scores(batch).cpu(), batch.label)
    return {name: value.item() for name, value in metrics.compute().items()}
