"""The files and pictures that a finished run leaves: tables, predictions, figures."""

from __future__ import annotations

import csv
import io
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from elmo.classifier import SplitResult
from elmo.corpora import Corpus, column
from elmo.datamodule import TokenData
from elmo.figures import confusion_matrix_figure, perplexity_figure, reliability_figure
from elmo.metrics import CALIBRATION_BINS
from elmo.runs import FINAL_EVENTS, NOT_COMPARED, atomic_writer, compared, write_text
from elmo.scores import DIRECTIONS, FIRST_WORD, Group, LanguageModelResult, as_record
from elmo.text import WordTokenizer


class Writer:
    """Writes tables and figures into a folder, and the figures to TensorBoard, too.

    Args:
        folder: of the run.
        logger: None leaves TensorBoard out.
    """

    def __init__(self, folder: Path, logger: TensorBoardLogger | None = None) -> None:
        self.folder = folder
        self.logger = logger
        if logger:  # in a file of its own, which a resumed run takes away
            logger.experiment.close()
            logger.experiment.filename_suffix = FINAL_EVENTS

    def table(self, name: str, header: list[str], rows: list[list[Any]]) -> None:
        """As `tables/NAME.csv`."""
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        write_text(self.folder / "tables" / f"{name}.csv", text.getvalue())

    def figure(self, kind: str, split: str, figure: Figure) -> None:
        """As `figures/KIND_SPLIT.png` and, in TensorBoard, as `KIND/SPLIT`."""
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # once for both: drawing a matrix of many words takes half a second
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
        with atomic_writer(self.folder / "figures" / f"{kind}_{split}.png") as handle:
            Image.fromarray(pixels).save(handle, format="png")
        if self.logger:
            self.logger.experiment.add_image(f"{kind}/{split}", pixels, dataformats="HWC")

    def finish(
        self,
        choices: dict[str, str],
        settings: dict[str, Any],
        metrics: dict[str, float],
        step: int,
    ) -> None:
        """Write the final figures to TensorBoard, and the settings for its HPARAMS tab.

        The settings stand in a run of their own, `RUN/final`, with the figures to compare runs
        by, because the tab makes a column of every scalar beside them. Without an `Experiment`
        record: TensorBoard would take the first that it finds for all runs, and settings that
        only other runs have would not be shown. So it gathers them from the runs, and knows which
        of them differ.

        The final figures of train and validation stand under `train_best/` and `val_best/`,
        because `train/` and `val/` are curves.

        Args:
            step: of the checkpoint that the figures are of.
        """
        if self.logger is None:
            return
        chosen = {group: name for group, name in choices.items() if group not in NOT_COMPARED}
        _, start, end = hparams({**chosen, **compared(settings)}, {})
        with SummaryWriter(str(self.folder / "final")) as final:
            final.file_writer.add_summary(start)
            for name, value in metrics.items():
                tag = re.sub("^(train|val)/", r"\1_best/", name)
                run = final if name in COMPARED else self.logger.experiment
                run.add_scalar(tag, value, step)
            final.file_writer.add_summary(end)
        self.logger.experiment.close()
        self.table("curves", ["tag", "step", "value"], read_curves(self.folder))


def read_curves(folder: Path) -> list[list[Any]]:
    """Tag, step and value of every scalar that a run wrote to TensorBoard."""
    logging.getLogger("tensorboard").setLevel(logging.WARNING)  # it names every file it opens
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1})
    events.Reload()
    return [
        [tag, event.step, f"{event.value:.6g}"]
        for tag in sorted(set(events.Tags()["scalars"]) - {"epoch"})
        for event in events.Scalars(tag)
    ]


COMPARED = {
    f"{split}/{figure}"
    for split in ("val", "test")
    for figure in ("loss", "perplexity", "accuracy", "f1", "ece")
}


def write_language_model_results(
    results: dict[str, LanguageModelResult], tokenizer: WordTokenizer, writer: Writer
) -> dict[str, Any]:
    """Write the confusion matrices and the perplexities by frequency and position of every split.

    Returns:
        The tables as plain data, for `metrics.json`.
    """
    for split, result in results.items():
        for kind, axis, groups in (
            ("perplexity_by_frequency", "frequency rank of the word", result.by_frequency),
            ("perplexity_by_position", "position in the description", result.by_position),
        ):
            writer.table(f"{kind}_{split}", [axis, *_group_header()], _group_rows(groups))
            writer.figure(kind, split, perplexity_figure(groups, axis, split))
        names = [*tokenizer.words[FIRST_WORD:][: result.confusion.shape[1] - 1], "other"]
        for direction, counts in zip(DIRECTIONS, result.confusion.numpy(), strict=True):
            rows = [[name, *counts[i].tolist()] for i, name in enumerate(names)]
            writer.table(f"confusion_{split}_{direction}", ["true \\ predicted", *names], rows)
            title = f"{len(names) - 1} most frequent words, {split}, {direction}"
            figure = confusion_matrix_figure(counts, names, title)
            writer.figure("confusion", f"{split}_{direction}", figure)
    return {split: as_record(result) for split, result in results.items()}


def _group_header() -> list[str]:
    return [f"{what} {name}" for what in ("targets", "perplexity") for name in DIRECTIONS]


def _group_rows(groups: list[Group]) -> list[list[Any]]:
    return [
        [group.name, *group.targets, *(f"{value:.3f}" for value in group.perplexity)]
        for group in groups
    ]


def write_classification_results(
    results: dict[str, SplitResult], corpus: Corpus, writer: Writer, data: TokenData | None = None
) -> dict[str, Any]:
    """Write predictions, per-class tables, confusion matrices and calibration of every split.

    Args:
        data: None where a classifier has no tokens to count.

    Returns:
        The per-class figures and confusion matrices as plain data, for `metrics.json`.
    """
    record: dict[str, Any] = {}
    names = list(corpus.class_names)
    for split, result in results.items():
        path = writer.folder / "predictions" / f"{split}.parquet"
        _write_predictions(result, corpus, data, split, path)
        confusion = result.per_class["confusion"]
        scores = {name: result.per_class[name] for name in ("precision", "recall", "f1")}
        rows = [
            [name, *(f"{scores[score][i]:.4f}" for score in scores), int(confusion[i].sum())]
            for i, name in enumerate(names)
        ]
        writer.table(f"per_class_{split}", ["class", *scores, "rows"], rows)
        counts = [[name, *confusion[i].tolist()] for i, name in enumerate(names)]
        writer.table(f"confusion_{split}", ["true \\ predicted", *names], counts)
        figure = confusion_matrix_figure(confusion.numpy(), names, split)
        writer.figure("confusion", split, figure)
        probabilities, labels = result.probabilities.numpy(), result.labels.numpy()
        figure = reliability_figure(
            probabilities, labels, CALIBRATION_BINS, result.calibration_error, split
        )
        writer.figure("calibration", split, figure)
        record[split] = {
            "per_class": {
                name: {score: float(values[i]) for score, values in scores.items()}
                for i, name in enumerate(names)
            },
            "confusion": confusion.tolist(),
        }
    return record


def _write_predictions(
    result: SplitResult, corpus: Corpus, data: TokenData | None, split: str, path: Path
) -> None:
    """Row of the source, true and predicted class, and the probability of each; no text.

    Beside them how many words the row has, and how many of them are unknown.
    """
    names = list(corpus.class_names)
    columns: dict[str, Any] = {
        "row": column(corpus.splits[split], "row")[result.rows],
        "label": [names[label] for label in result.labels],
        "predicted": [names[label] for label in result.probabilities.argmax(1)],
    }
    for index, name in enumerate(names):
        columns[f"p({name})"] = result.probabilities[:, index].numpy()
    if data is not None:
        tokens = data.splits[split]
        columns["words"] = tokens.lengths[result.rows] - 2  # without <s> and </s>
        columns["unknown"] = tokens.unknown_words[result.rows]
    with atomic_writer(path) as handle:
        pq.write_table(pa.table(columns), handle)
