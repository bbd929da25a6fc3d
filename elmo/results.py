"""The files that a finished run leaves: metrics.json, tables, predictions, figures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lightning.pytorch.loggers import TensorBoardLogger

from elmo.classifier import SplitResult
from elmo.corpora import Corpus
from elmo.figures import confusion_matrix_figure
from elmo.runs import atomic_writer, write_text


def write_classification_results(
    results: dict[str, SplitResult], corpus: Corpus, run_dir: Path, logger: TensorBoardLogger
) -> dict[str, Any]:
    """Write the predictions, the per-class tables and the confusion matrices of every split.

    Returns:
        The per-class figures and confusion matrices as plain data, for `metrics.json`.
    """
    record: dict[str, Any] = {}
    for split, result in results.items():
        _write_predictions(result, corpus, split, run_dir / "predictions" / f"{split}.parquet")
        confusion = result.per_class["confusion"]
        scores = {name: result.per_class[name] for name in ("precision", "recall", "f1")}
        rows = [
            [name, *(f"{scores[score][i]:.4f}" for score in scores), int(confusion[i].sum())]
            for i, name in enumerate(corpus.class_names)
        ]
        _write_csv(run_dir / f"per_class_{split}.csv", ["class", *scores, "rows"], rows)
        counts = [[name, *confusion[i].tolist()] for i, name in enumerate(corpus.class_names)]
        _write_csv(
            run_dir / f"confusion_{split}.csv", ["true \\ predicted", *corpus.class_names], counts
        )
        figure = confusion_matrix_figure(confusion.numpy(), list(corpus.class_names), split)
        logger.experiment.add_figure(f"confusion/{split}", figure)
        record[split] = {
            "per_class": {
                name: {score: float(values[i]) for score, values in scores.items()}
                for i, name in enumerate(corpus.class_names)
            },
            "confusion": confusion.tolist(),
        }
    logger.experiment.close()
    return record


def _write_predictions(result: SplitResult, corpus: Corpus, split: str, path: Path) -> None:
    """Row of the source, true and predicted class, and the probability of each; no text."""
    names = list(corpus.class_names)
    columns: dict[str, Any] = {
        "row": np.array(corpus.splits[split]["row"])[result.rows],
        "label": [names[label] for label in result.labels],
        "predicted": [names[label] for label in result.probabilities.argmax(1)],
    }
    for index, name in enumerate(names):
        columns[f"p({name})"] = result.probabilities[:, index].numpy()
    with atomic_writer(path) as handle:
        pq.write_table(pa.table(columns), handle)


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
