"""The end of a run: from its evaluation to outputs, TensorBoard, record and latest model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from elmo.evaluation.outputs import Outputs, Writer
from elmo.evaluation.results import Evaluation
from elmo.runs.folder import Run
from elmo.runs.keys import relevant, relevant_choices
from elmo.runs.latest import KINDS, update_latest
from elmo.training.tensorboard import read_curves, start_final_events, write_final_figures


def finish(
    run: Run,
    evaluation: Evaluation,
    outputs: Outputs,
    logger: Logger | None,
    facts: Mapping[str, Any],
) -> None:
    """Write everything that a run leaves besides its model; it may become the latest of its corpus.

    Args:
        evaluation: the results; nothing is measured here.
        outputs: writes the files of each split.
        facts: what else `metrics.json` records: facts of the data under `data`, of the model, ...
    """
    assert isinstance(logger, TensorBoardLogger)  # no trainer of this project has another
    start_final_events(logger)
    writer = Writer(run.run_dir, logger)
    splits = outputs.write(evaluation, writer)
    settings = {**relevant_choices(run.choices), **relevant(run.settings)}
    write_final_figures(run.run_dir, logger, evaluation, settings)
    writer.table("curves", ["tag", "step", "value"], read_curves(run.run_dir))
    run.finish(metrics=evaluation.metrics, splits=splits, seconds_of=evaluation.seconds, **facts)
    for name, kind in KINDS.items():
        if run.artifact.name == kind.file:
            output_dir = Path(run.settings["output_dir"])
            update_latest(output_dir, facts["data"]["name"], run.run_dir, name)
