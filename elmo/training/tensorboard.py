"""TensorBoard: the logger of a run, its curves, its final figures."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from elmo.evaluation.results import Evaluation
from elmo.runs.folder import Run
from elmo.training.checkpoints import read_checkpoint
from elmo.utils.ranks import rank

FINAL_EVENTS = ".final"  # ends the name of the events file that is written after the training
VECTORS = "00000"  # where TensorBoard's writer puts word vectors; it warns of older ones
COMPARED = {  # the figures to compare runs by, in the HPARAMS tab
    f"{split}/{figure}"
    for split in ("val", "test")
    for figure in ("loss", "perplexity", "accuracy", "f1", "ece")
}


def tensorboard_logger(run: Run) -> TensorBoardLogger:
    """Return the logger of a run; in a resumed run it hides what followed the checkpoint.

    TensorBoard hides all points from a step on where it finds such a mark (`purge_step`), and the
    resumed run logs them again. The final figures and the word vectors of an earlier end are
    removed. The seconds that passed before the checkpoint are added to those of the run.
    """
    if rank():  # only the first process writes
        return TensorBoardLogger(run.run_dir, name="", version="", default_hp_metric=False)
    for folder in ("final", VECTORS):
        shutil.rmtree(run.run_dir / folder, ignore_errors=True)
    for file in run.run_dir.glob(f"events.*{FINAL_EVENTS}"):
        file.unlink()
    start = None
    if run.checkpoint:
        checkpoint = read_checkpoint(run.checkpoint)
        start = checkpoint["global_step"]
        run.started -= checkpoint["seconds"]
    return TensorBoardLogger(
        run.run_dir, name="", version="", default_hp_metric=False, purge_step=start
    )


def start_final_events(logger: TensorBoardLogger) -> None:
    """Write from here on to an events file of its own, which a resumed run removes."""
    logger.experiment.close()
    logger.experiment.filename_suffix = FINAL_EVENTS


def write_final_figures(
    folder: Path, logger: TensorBoardLogger, evaluation: Evaluation, settings: Mapping[str, Any]
) -> None:
    """Write the final figures, and the settings for the HPARAMS tab.

    The settings go to a TensorBoard run of their own, `RUN/final`, with only the figures to
    compare runs by, because the tab makes a column of every scalar beside them. No `Experiment`
    record is written: TensorBoard would use the first that it finds for all runs and hide settings
    that only other runs have. Without one it collects the settings from the runs.

    The final figures of train and validation are named `train_best/` and `val_best/`, because
    `train/` and `val/` are curves.

    Args:
        folder: the run folder.
        settings: everything that a figure depends on, with dotted keys.
    """
    _, start, end = hparams(dict(settings), {})
    with SummaryWriter(str(folder / "final")) as final:
        final.file_writer.add_summary(start)
        for name, value in evaluation.metrics.items():
            tag = re.sub("^(train|val)/", r"\1_best/", name)
            writer = final if name in COMPARED else logger.experiment
            writer.add_scalar(tag, value, evaluation.best_step)
        final.file_writer.add_summary(end)
    logger.experiment.close()


def read_curves(folder: Path) -> list[list[Any]]:
    """Return tag, step and value of every scalar that a run wrote to TensorBoard."""
    logging.getLogger("tensorboard").setLevel(logging.WARNING)  # it names every file it opens
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1})
    events.Reload()
    return [
        [tag, event.step, f"{event.value:.6g}"]
        for tag in sorted(set(events.Tags()["scalars"]) - {"epoch"})
        for event in events.Scalars(tag)
    ]
