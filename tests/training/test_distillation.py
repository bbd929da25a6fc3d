from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from conftest import TINY_CLS, Script
from elmo.data.batches import Batch
from elmo.data.classification_data import ClassificationData
from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import column
from elmo.errors import ConfigError
from elmo.models.classifier import TextClassifier
from elmo.models.static import StaticEncoder
from elmo.modules.heads import PoolHead
from elmo.modules.mixers import AverageMix
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.classification_task import ClassificationTask
from elmo.training.distillation import Teacher


@pytest.fixture
def data(toy: ToyNews) -> ClassificationData:
    return ClassificationData(corpus=toy, token_budget=512, num_workers=0, seed=0)


def write_run(
    folder: Path, data: ClassificationData, probabilities: np.ndarray, **changes: Any
) -> None:
    """Write what a teacher needs of a run: its record, and its predictions in another order."""
    rows = column(data.corpus.splits["train"], "row")
    names = list(data.corpus.class_names)
    order = np.random.default_rng(0).permutation(len(rows))
    columns: dict[str, Any] = {"row": rows[order], "label": [names[0]] * len(rows)}
    columns |= {f"p({name})": probabilities[order, i] for i, name in enumerate(names)}
    (folder / "predictions").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "predictions" / "train.parquet")
    facts = {"name": "toy", "fingerprint": data.corpus.fingerprint} | changes
    record = {
        "choices": {"encoder": "elmo"},
        "settings": {"seed": 0},
        "metrics": {},
        "data": facts,
    }
    (folder / "metrics.json").write_text(json.dumps(record))


def draws(data: ClassificationData, seed: int) -> np.ndarray:
    rows = len(data.corpus.splits["train"])
    return np.random.default_rng(seed).dirichlet(np.ones(len(data.corpus.class_names)), rows)


def test_targets_are_the_mean_of_the_teachers_mixed_with_the_label(
    data: ClassificationData, tmp_path: Path
) -> None:
    first, second = draws(data, 1), draws(data, 2)
    write_run(tmp_path / "one", data, first)
    write_run(tmp_path / "two", data, second)
    teacher = Teacher(data, str(tmp_path), weight=0.25)
    assert teacher.count == 2
    rows = torch.tensor([7, 0, 42])
    label = torch.tensor([1, 3, 0])
    expected = 0.25 * (first + second)[rows] / 2 + 0.75 * np.eye(first.shape[1])[label]
    np.testing.assert_allclose(teacher.targets(label, rows).numpy(), expected, rtol=1e-6)


def test_few_labels_need_predictions_for_these_rows_alone(toy: ToyNews, tmp_path: Path) -> None:
    def few(seed: int) -> ClassificationData:
        return ClassificationData(
            corpus=toy, token_budget=512, num_workers=0, seed=seed, label_share=0.1
        )

    data = few(0)
    probabilities = draws(data, 1)
    write_run(tmp_path / "run", data, probabilities)
    file = tmp_path / "run" / "predictions" / "train.parquet"
    table = pq.read_table(file)
    labelled = column(data.corpus.splits["train"], "row")[data.labelled_rows]
    pq.write_table(table.filter(np.isin(table["row"], labelled)), file)
    teacher = Teacher(data, [str(tmp_path / "run")], weight=1)
    rows = torch.from_numpy(data.labelled_rows)
    found = teacher.targets(torch.zeros(len(rows), dtype=torch.long), rows)
    np.testing.assert_allclose(found.numpy(), probabilities[data.labelled_rows], rtol=1e-6)
    with pytest.raises(ConfigError, match="no prediction for row"):
        Teacher(few(1), str(tmp_path), weight=1)


def test_teachers_that_may_have_seen_held_out_rows_are_refused(
    data: ClassificationData, tmp_path: Path
) -> None:
    write_run(tmp_path / "run", data, draws(data, 1), fingerprint="other")
    with pytest.raises(ConfigError, match="among which may be validation or test rows"):
        Teacher(data, str(tmp_path), weight=0.5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no finished classifier below"):
        Teacher(data, str(tmp_path / "empty"), weight=0.5)
    with pytest.raises(ConfigError, match=r"teacher\.runs is not set"):
        Teacher(data, None, weight=0.5)
    with pytest.raises(ConfigError, match=r"teacher\.weight is 0"):
        Teacher(data, str(tmp_path), weight=0)


def losses(batch: Batch, **settings: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training loss of a batch and the log probabilities (B, C) of its classes."""
    torch.manual_seed(0)
    from elmo.data.text import WordTokenizer

    tokenizer = WordTokenizer.train(["a b c d"], min_count=1, max_size=None)
    model = TextClassifier(
        StaticEncoder(tokenizer, 8), AverageMix(1, 8), PoolHead(8, 4), list("wxyz")
    ).eval()
    optimizer = partial(torch.optim.AdamW, lr=0.01)
    task = ClassificationTask(model, optimizer=optimizer, warmup=0.0, **settings)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    return task.training_step(batch, 0), model(batch).log_softmax(1)


BATCH = Batch(
    torch.tensor([[2, 4, 5, 3], [2, 6, 3, 0]]),
    torch.tensor([4, 3]),
    torch.tensor([1, 3]),
    torch.arange(2),
)


def test_a_student_learns_the_targets_of_its_teacher(
    data: ClassificationData, tmp_path: Path
) -> None:
    write_run(tmp_path / "run", data, draws(data, 1))
    teacher = Teacher(data, str(tmp_path), weight=0.5)
    loss, log_probabilities = losses(BATCH, teacher=teacher)
    targets = teacher.targets(BATCH.label, BATCH.row)
    torch.testing.assert_close(loss, -(targets * log_probabilities).sum(1).mean())


def test_the_robust_loss_lies_between_cross_entropy_and_absolute_error() -> None:
    entropy, log_probabilities = losses(BATCH)
    p = log_probabilities.exp()[torch.arange(2), BATCH.label]
    for exponent in (0.3, 0.7, 1.0):
        loss, _ = losses(BATCH, robust_exponent=exponent)
        torch.testing.assert_close(loss, ((1 - p**exponent) / exponent).mean())
    nearly, _ = losses(BATCH, robust_exponent=1e-4)
    torch.testing.assert_close(nearly, entropy, rtol=1e-3, atol=0)
    with pytest.raises(ConfigError, match="robust_exponent is 0"):
        losses(BATCH, robust_exponent=0.0)


def test_a_run_is_distilled_and_says_from_how_many(
    script: Script, pretrained: Path, sweep: tuple[Path, str], tmp_path: Path
) -> None:
    bilm = f"bilm_path={latest_run(pretrained, 'toy')}"
    teachers = f"teacher.runs={sweep[0]}"
    script("train_cls", *TINY_CLS, bilm, "teacher=runs", teachers, output_dir=tmp_path)
    record = read_record(latest_run(tmp_path, "toy", "classifier"))
    assert record["teachers"] == 3
    done = script("train_cls", *TINY_CLS, bilm, "teacher=runs", output_dir=tmp_path / "x", code=1)
    assert "teacher.runs is not set" in done.stderr
