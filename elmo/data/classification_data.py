"""Batches for classification, and the copies of rows that are trained on beside them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from elmo.data.datamodule import TokenData
from elmo.data.splitting import stratified_sample
from elmo.data.tokens import Copies, TokenizedSplit, WithCopies
from elmo.errors import check_range


class ClassificationData(TokenData):
    """Batches for classification.

    Whole splits are evaluated, because the predictions for all rows are stored.

    Args:
        label_share: share of the train rows of each class, drawn by `seed`; only these are trained
            on, and evaluated as the train split.
        arguments: see `TokenData`.

    Attributes:
        copies: documents that are trained on beside the rows; None for none.

    Raises:
        ConfigError: a number is out of range, or the corpus has no classes.
    """

    def __init__(self, label_share: float = 1.0, **arguments: Any) -> None:
        check_range({"label_share": label_share}, above=0, at_most=1)
        super().__init__(**arguments)
        self.corpus.check_classes()
        self.label_share = label_share
        self.copies: Copies | None = None

    @cached_property
    def labelled_rows(self) -> np.ndarray:
        """Positions in the train split of the rows with labels that are used (N',)."""
        return stratified_sample(self.splits["train"].labels.numpy(), self.label_share, self.seed)

    @property
    def facts(self) -> dict[str, Any]:
        facts = {**super().facts, "labelled_rows": len(self.labelled_rows)}
        return facts if self.copies is None else {**facts, "augmentation": self.copies.facts}

    def documents(self) -> dict[str, TokenizedSplit]:
        if self.copies is None:
            return super().documents()
        return {**super().documents(), f"copies-{self.copies.key}": self.copies.documents}

    def train_dataloader(self) -> DataLoader:
        if self.copies is None:
            return self._subset_loader("train", self.labelled_rows, self.seed)
        rows = WithCopies(self.splits["train"], self.labelled_rows, self.copies.documents)
        return self.loader(rows, rows.lengths, self.seed)

    def evaluation_loader(self, split: str) -> DataLoader:
        if split != "train":
            return super().evaluation_loader(split)
        return self._subset_loader(split, self.labelled_rows, seed=None)
