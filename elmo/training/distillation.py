"""Distillation: a classifier learns from the averaged predictions of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from elmo.data.classification_data import ClassificationData
from elmo.data.corpus import column
from elmo.errors import ConfigError, DataError, check_range
from elmo.runs.finished import FinishedRun, finished_runs, read_outcome


class Teacher:
    """The targets of a student: its label, mixed with the mean of the teachers' probabilities.

    The teachers have seen the same train rows, with their labels; validation and test rows are not
    read. So one classifier can learn what the mean of many knows (Hinton, Vinyals and Dean 2015,
    section 2, at a temperature of 1), and wrong labels that the mean doubts count less.

    Args:
        data: of the student.
        runs: run folders of classifiers on the same data, or folders with such runs below.
        weight: of the teachers in a target; the label has the rest.

    Raises:
        ConfigError: there are no such runs, or they have learned from other rows.
        DataError: a run kept no predictions of the train split.
    """

    def __init__(
        self, data: ClassificationData, runs: str | list[str] | None, weight: float
    ) -> None:
        check_range({"teacher.weight": weight}, above=0, at_most=1)
        if not runs:
            raise ConfigError(
                "teacher.runs is not set; expected folders of finished classifiers, such as "
                "teacher.runs=outputs/train_cls/SWEEP"
            )
        folders = [Path(runs)] if isinstance(runs, str) else [Path(run) for run in runs]
        found = [run for run in finished_runs(folders) if run.is_classifier]
        if not found:
            raise ConfigError(
                f"teacher.runs={','.join(map(str, folders))}: no finished classifier below it; "
                "expected folders of train_cls.py"
            )
        self.weight = weight
        self.count = len(found)
        means = np.mean([_probabilities(run, data) for run in found], axis=0)
        self.probabilities = torch.from_numpy(means).float()  # (N, C), NaN where a row has no label

    def targets(self, label: Tensor, row: Tensor) -> Tensor:
        """Return the target distribution (B, C) of documents.

        Args:
            label: their classes (B,).
            row: their positions in the train split (B,).
        """
        self.probabilities = self.probabilities.to(label.device)
        hard = functional.one_hot(label, self.probabilities.shape[1])
        return self.weight * self.probabilities[row] + (1 - self.weight) * hard


def _probabilities(run: FinishedRun, data: ClassificationData) -> np.ndarray:
    """Return what a run predicts for the train split (N, C); NaN for rows without a label."""
    trained_on = run.record["data"]["fingerprint"]
    if trained_on != data.corpus.fingerprint:
        raise ConfigError(
            f"teacher.runs: {run.folder} was trained on data={run.record['data']['name']} "
            f"({trained_on}), this is data={data.corpus.name} ({data.corpus.fingerprint}): other "
            "rows, among which may be validation or test rows; expected teachers of the same data"
        )
    outcome = read_outcome(run.folder, run.record, "train")
    if outcome.classes != list(data.corpus.class_names):
        raise DataError(f"{run.folder}: its predictions are for the classes {outcome.classes}")
    numbers = column(data.corpus.splits["train"], "row")  # in the source, by position
    place = {number: index for index, number in enumerate(outcome.rows.tolist())}
    found = np.full((len(numbers), len(outcome.classes)), np.nan)
    try:
        rows = [place[number] for number in numbers[data.labelled_rows].tolist()]
    except KeyError as error:
        raise ConfigError(
            f"teacher.runs: {run.folder} has no prediction for row {error} of {data.corpus.name}; "
            "expected teachers with the same label_share and seed, or with all labels"
        ) from error
    found[data.labelled_rows] = outcome.probabilities[rows]
    return found
