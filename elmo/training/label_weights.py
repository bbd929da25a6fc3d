"""Train rows whose label is doubted count less in the loss, or not at all."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from elmo.data.classification_data import ClassificationData
from elmo.errors import ConfigError, check_range
from elmo.evaluation.label_issues import read_issues


class SuspectWeights:
    """The weight of each train row's loss: `weight` where its label is suspected, 1 elsewhere.

    Args:
        data: of the classifier.
        suspects: a file that `elmo noise --cross-validate 5 --suspects FILE` wrote for this data.
        weight: of the loss of the rows that it names; 0 leaves them out.

    Raises:
        ConfigError: no file is named, it is of other rows, or the weight is not in 0 to 1.
        DataError: the file cannot be read.
    """

    def __init__(self, data: ClassificationData, suspects: str | None, weight: float) -> None:
        check_range({"label_weights.weight": weight}, at_least=0, at_most=1)
        if not suspects:
            raise ConfigError(
                "label_weights.suspects is not set; expected a file that `elmo noise "
                "--cross-validate 5 --suspects FILE` wrote"
            )
        positions = read_issues(Path(suspects), data.corpus)
        self.count = len(positions)
        self.weights = torch.ones(len(data.splits["train"]))  # (N,)
        self.weights[positions] = weight

    def of(self, row: Tensor) -> Tensor:
        """Return the weights (B,) of documents, given their positions in the train split (B,)."""
        self.weights = self.weights.to(row.device)
        return self.weights[row]
