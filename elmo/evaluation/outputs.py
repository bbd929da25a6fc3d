"""The files that an evaluation writes into a run folder: tables, predictions, figures."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

from elmo.data.corpus import Corpus, column
from elmo.data.datamodule import TokenData
from elmo.data.text import WordTokenizer
from elmo.evaluation.figures import (
    ConfusionMatrix,
    perplexity_figure,
    reliability_figure,
    rendered,
)
from elmo.evaluation.language_model_scores import (
    DIRECTIONS,
    FIRST_WORD,
    FREQUENT,
    Group,
    LanguageModelResult,
    as_record,
)
from elmo.evaluation.metrics import CALIBRATION_BINS
from elmo.evaluation.predictions import predictions_table
from elmo.evaluation.results import ClassificationResult, Evaluation
from elmo.utils.files import atomic_writer, write_text


class Writer:
    """Writes tables and figures into a run folder, and the figures to TensorBoard as well.

    Args:
        folder: the run folder.
        logger: writes the figures to TensorBoard; None leaves that out.
    """

    def __init__(self, folder: Path, logger: TensorBoardLogger | None = None) -> None:
        self.folder = folder
        self.logger = logger

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write `tables/NAME.csv`."""
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        write_text(self.folder / "tables" / f"{name}.csv", text.getvalue())

    def figure(self, kind: str, split: str, pixels: np.ndarray) -> None:
        """Write `figures/KIND_SPLIT.png` and, to TensorBoard, the image `KIND/SPLIT`.

        Args:
            pixels: (height, width, 3).
        """
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, format="png", compress_level=3)
        with atomic_writer(self.folder / "figures" / f"{kind}_{split}.png") as handle:
            handle.write(png.getvalue())
        if self.logger:  # its `add_image` would compress the pixels once more
            height, width, colours = pixels.shape
            image = Summary.Image(
                height=height,
                width=width,
                colorspace=colours,
                encoded_image_string=png.getvalue(),
            )
            value = Summary.Value(tag=f"{kind}/{split}", image=image)
            self.logger.experiment._get_file_writer().add_summary(Summary(value=[value]), 0)


class Outputs(ABC):
    """Writes the outputs of one kind of model."""

    def write(self, evaluation: Evaluation, writer: Writer) -> dict[str, Any]:
        """Write the outputs of every split; return what `metrics.json` records, by split."""
        return {
            split: self.write_split(split, result, writer)
            for split, result in evaluation.splits.items()
        }

    @abstractmethod
    def write_split(self, split: str, result: Any, writer: Writer) -> dict[str, Any]:
        """Write the outputs of one split; return what `metrics.json` records of them."""


class LanguageModelOutputs(Outputs):
    """Writes confusion matrices, and perplexities by word frequency and by position.

    Args:
        tokenizer: gives the words of the confusion matrices.
    """

    def __init__(self, tokenizer: WordTokenizer) -> None:
        self.names = [*tokenizer.words[FIRST_WORD:][:FREQUENT], "other"]
        self.confusion = ConfusionMatrix(self.names)

    def write_split(
        self, split: str, result: LanguageModelResult, writer: Writer
    ) -> dict[str, Any]:
        for kind, axis, groups in (
            ("perplexity_by_frequency", "frequency rank of the word", result.by_frequency),
            ("perplexity_by_position", "position in the description", result.by_position),
        ):
            writer.table(f"{kind}_{split}", [axis, *_group_header()], _group_rows(groups))
            writer.figure(kind, split, rendered(perplexity_figure(groups, axis, split)))
        for direction, counts in zip(DIRECTIONS, result.confusion.numpy(), strict=True):
            _confusion_table(writer, f"{split}_{direction}", self.names, counts)
            title = f"{len(self.names) - 1} most frequent words, {split}, {direction}"
            pixels = self.confusion.draw(counts, title)
            writer.figure("confusion", f"{split}_{direction}", pixels)
        return as_record(result)


class ClassificationOutputs(Outputs):
    """Writes predictions, scores of each class, confusion matrices and calibration.

    Args:
        corpus: gives the names of the classes and the rows of the source.
        data: gives the word counts of each row; None where a classifier has no tokens.
    """

    def __init__(self, corpus: Corpus, data: TokenData | None = None) -> None:
        self.corpus = corpus
        self.data = data
        self.class_names = list(corpus.class_names)
        self.confusion = ConfusionMatrix(self.class_names)

    def write_split(
        self, split: str, result: ClassificationResult, writer: Writer
    ) -> dict[str, Any]:
        with atomic_writer(writer.folder / "predictions" / f"{split}.parquet") as handle:
            pq.write_table(self._predictions(split, result), handle)
        names = self.class_names
        confusion = result.per_class["confusion"].numpy()
        scores = {name: result.per_class[name] for name in ("precision", "recall", "f1")}
        rows = [
            [name, *(f"{scores[score][i]:.4f}" for score in scores), int(confusion[i].sum())]
            for i, name in enumerate(names)
        ]
        writer.table(f"per_class_{split}", ["class", *scores, "rows"], rows)
        _confusion_table(writer, split, names, confusion)
        writer.figure("confusion", split, self.confusion.draw(confusion, split))
        probabilities, labels = result.probabilities.numpy(), result.labels.numpy()
        figure = reliability_figure(
            probabilities, labels, CALIBRATION_BINS, result.calibration_error, split
        )
        writer.figure("calibration", split, rendered(figure))
        return {
            "per_class": {
                name: {score: float(values[i]) for score, values in scores.items()}
                for i, name in enumerate(names)
            },
            "confusion": confusion.tolist(),
        }

    def _predictions(self, split: str, result: ClassificationResult) -> pa.Table:
        """Return the predictions, and where there are tokens, the counts of words and `<unk>`."""
        counts: dict[str, Any] = {}
        if self.data is not None:
            tokens = self.data.splits[split]
            counts["words"] = tokens.lengths[result.rows] - 2  # without <s> and </s>
            counts["unknown"] = tokens.unknown_words[result.rows]
        return predictions_table(
            column(self.corpus.splits[split], "row")[result.rows],
            [self.class_names[label] for label in result.labels],
            result.probabilities.numpy(),
            self.class_names,
            **counts,
        )


def _confusion_table(writer: Writer, name: str, names: list[str], counts: np.ndarray) -> None:
    rows = [[true, *counts[i].tolist()] for i, true in enumerate(names)]
    writer.table(f"confusion_{name}", ["true \\ predicted", *names], rows)


def _group_header() -> list[str]:
    return [f"{quantity} {name}" for quantity in ("targets", "perplexity") for name in DIRECTIONS]


def _group_rows(groups: list[Group]) -> list[list[Any]]:
    return [
        [group.name, *group.targets, *(f"{value:.3f}" for value in group.perplexity)]
        for group in groups
    ]
