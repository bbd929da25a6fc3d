"""Rows whose label is suspected count less, and the others as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import TINY_CLS, Script
from elmo.data.classification_data import ClassificationData
from elmo.data.corpora.toy import ToyNews
from elmo.errors import ConfigError
from elmo.evaluation.label_issues import Issues, write_issues
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.label_weights import SuspectWeights
from training.test_distillation import BATCH, losses


@pytest.fixture
def data(toy: ToyNews) -> ClassificationData:
    return ClassificationData(corpus=toy, token_budget=512, num_workers=0, seed=0)


@pytest.fixture
def suspects(toy: ToyNews, tmp_path: Path) -> str:
    """A file that doubts the labels of the train rows at the positions 1 and 4."""
    file = tmp_path / "suspects.csv"
    none = np.zeros(2, dtype=int)
    write_issues(file, toy, Issues(np.array([1, 4]), none, none, np.array([0.9, 0.8])))
    return str(file)


def test_only_suspected_rows_weigh_less(data: ClassificationData, suspects: str) -> None:
    weights = SuspectWeights(data, suspects, weight=0.25)
    assert weights.count == 2
    assert weights.of(torch.tensor([4, 0, 1, 5])).tolist() == [0.25, 1, 0.25, 1]
    assert len(weights.weights) == len(data.splits["train"])


def test_the_loss_of_a_suspected_row_is_weighted(data: ClassificationData, suspects: str) -> None:
    """Row 1 of the batch is suspected, row 0 is not."""
    _, log_probabilities = losses(BATCH)
    each = -log_probabilities[torch.arange(2), BATCH.label]
    for weight in (0.0, 0.25, 1.0):
        loss, _ = losses(BATCH, label_weights=SuspectWeights(data, suspects, weight))
        torch.testing.assert_close(loss, (each[0] + weight * each[1]) / 2)


def test_settings_that_cannot_be_are_refused(data: ClassificationData, suspects: str) -> None:
    with pytest.raises(ConfigError, match=r"label_weights\.suspects is not set"):
        SuspectWeights(data, None, 0.0)
    for weight in (-0.1, 1.1):
        with pytest.raises(ConfigError, match=r"label_weights\.weight is"):
            SuspectWeights(data, suspects, weight)


def test_a_run_says_how_many_labels_are_suspected(
    script: Script, pretrained: Path, suspects: str, tmp_path: Path
) -> None:
    bilm = f"bilm_path={latest_run(pretrained, 'toy')}"
    chosen = ["label_weights=suspects", f"label_weights.suspects={suspects}"]
    script("train_cls", *TINY_CLS, bilm, *chosen, output_dir=tmp_path)
    record = read_record(latest_run(tmp_path, "toy", "classifier"))
    assert record["suspected_labels"] == 2
    done = script("train_cls", *TINY_CLS, bilm, chosen[0], output_dir=tmp_path / "other", code=1)
    assert "label_weights.suspects is not set" in done.stderr
