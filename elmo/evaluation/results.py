"""The results of a final evaluation."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

R = TypeVar("R")  # LanguageModelResult or ClassificationResult

# The prefix of the metric names of each split.
PREFIX = {"train": "train", "validation": "val", "test": "test"}


class ClassificationResult(NamedTuple):
    """The final evaluation of a classifier on the N rows of one split."""

    rows: Tensor  # (N,) positions in the split
    labels: Tensor  # (N,) classes from 0
    probabilities: Tensor  # (N, C)
    per_class: dict[str, Tensor]  # precision, recall, f1 (C,), confusion (C true, C predicted)
    lambdas: list[float]  # (L,); those of a learned mixer are the means over this split
    calibration_error: float


class Evaluation(NamedTuple, Generic[R]):
    """The final evaluation of a run on all its splits."""

    metrics: dict[str, float]  # "train/loss", "val/perplexity", "test/accuracy", ...
    splits: dict[str, R]  # by split
    best_step: int = 0  # the training step of the checkpoint that was evaluated
    seconds: dict[str, float] = {}  # noqa: RUF012  # by phase: an epoch, this evaluation, ...


def splits_to_evaluate(test: bool) -> tuple[str, ...]:
    """Return the names of the splits; the test split is among them only where `test` is true."""
    return ("train", "validation", "test") if test else ("train", "validation")
