"""The runs below a folder as the page shows them: a table, curves, confusions, predictions."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elmo.data.corpus import column, texts_of
from elmo.errors import DataError, ElmoError
from elmo.models.training_corpus import training_corpus
from elmo.runs.finished import FinishedRun, read_outcome
from elmo.runs.folder import HEADLINES
from elmo.runs.labels import label_of
from elmo.runs.latest import RELEASED, TOY, is_released, shown
from elmo.runs.record import FAILURE_FILE, METRICS_FILE, read_record


class FoundRuns(NamedTuple):
    """What lies below a folder of runs."""

    runs: list[FinishedRun]  # ordered by their paths, the released ones last
    failed: dict[Path, str]  # the reasons of failed jobs, by their folders
    problems: list[str]  # a line on each record that cannot be read

    def by_key(self) -> dict[str, FinishedRun]:
        """Return the runs by the key that names them in the page."""
        return {key_of(run.folder): run for run in self.runs}


def find_runs(output_dir: Path) -> FoundRuns:
    """Return the runs below a folder, which may not exist yet, and the released ones.

    Unlike `finished_runs`, it skips a record that cannot be read, and says so.
    """
    found = FoundRuns([], {}, [])
    own = [entry for entry in sorted(os.walk(output_dir)) if not is_released(Path(entry[0]))]
    for folder, _, files in [*own, *sorted(os.walk(RELEASED))]:
        path = Path(folder)
        if METRICS_FILE in files:
            try:
                run = FinishedRun(path, read_record(path))
                _row(run)
                found.runs.append(run)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                found.problems.append(
                    f"{shown(path / METRICS_FILE)}: not the record of a run ({error!r}); left out"
                )
        elif FAILURE_FILE in files:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                reason = json.loads((path / FAILURE_FILE).read_text())["reason"]
                found.failed[path] = str(reason)
    return found


def key_of(folder: Path) -> str:
    """Return the key that names a run in addresses and in the page."""
    return sha256(str(folder.resolve()).encode()).hexdigest()[:12]


def table(found: FoundRuns) -> list[dict[str, Any]]:
    """Return a row for each run, with numbers as numbers; failed jobs come last."""
    rows = [_row(run) for run in found.runs]
    for folder, reason in found.failed.items():
        rows.append({"key": "", "run": folder.name, "folder": str(shown(folder)), "status": reason})
    return rows


def _row(run: FinishedRun) -> dict[str, Any]:
    record = run.record
    metrics = record["metrics"]
    return {
        "key": key_of(run.folder),
        "run": label_of(record),
        "seed": record["settings"].get("seed"),
        "corpus": record["data"]["name"],
        **{figure: metrics.get(figure) for figure in HEADLINES},
        "lambdas": " ".join(f"{value:.2f}" for value in record.get("lambdas", [])),
        "seconds": record.get("seconds"),
        "status": "ok",
        "folder": str(shown(run.folder)),
    }


def titles(runs: Sequence[FinishedRun]) -> dict[str, str]:
    """Return a short title for each run by its key: its label, and what tells it from others."""
    labels = {key_of(run.folder): label_of(run.record) for run in runs}
    found: dict[str, str] = {}
    for run in runs:
        key = key_of(run.folder)
        same = [other for other in runs if label_of(other.record) == labels[key]]
        seeds = {other.record["settings"].get("seed") for other in same}
        title = labels[key]
        if len(same) > 1 and len(seeds) == len(same):
            title += f", seed {run.record['settings'].get('seed')}"
        elif len(same) > 1:
            title += f", {run.folder.name}"
        found[key] = title
    return found


def confusion(run: FinishedRun, split: str) -> tuple[list[str], np.ndarray] | None:
    """Return names and counts (C, C), rows are true; None where the run has none.

    The names are those of the classes, or of a language model's most frequent words.

    Args:
        split: "train", "validation" or "test".
    """
    with contextlib.suppress(KeyError, TypeError, ValueError):
        of_split = run.record["splits"][split]
        return list(of_split["per_class"]), np.array(of_split["confusion"])
    with contextlib.suppress(OSError, ValueError):
        file = run.folder / "tables" / f"confusion_{split}_together.csv"
        with file.open(newline="") as handle:
            header, *rows = csv.reader(handle)
        return header[1:], np.array([[int(count) for count in row[1:]] for row in rows])
    return None


class Behind(NamedTuple):
    """A row of a split that lies behind a cell of a confusion matrix."""

    row: int  # number in the source
    probability: float  # of the predicted class
    text: str | None


def rows_behind(run: FinishedRun, split: str, true: str, predicted: str) -> list[Behind]:
    """Return the rows behind a cell of a confusion matrix, the surest first, without texts.

    Raises:
        DataError: the run kept no predictions of the split.
    """
    outcome = read_outcome(run.folder, run.record, split)
    best = outcome.probabilities.argmax(1)
    chosen = (outcome.labels == true) & (np.array(outcome.classes)[best] == predicted)
    found = [
        Behind(int(outcome.rows[i]), float(outcome.probabilities[i].max()), None)
        for i in np.flatnonzero(chosen)
    ]
    return sorted(found, key=lambda row: -row.probability)


def with_texts(
    run: FinishedRun, split: str, rows: Sequence[Behind], cache_dir: str
) -> list[Behind]:
    """Return rows with their texts, read from the data that the user has.

    Raises:
        DataError: the data would have to be downloaded, or is not the data of the run.
    """
    if (refusal := _not_at_hand(run)) is not None:
        raise DataError(refusal)
    try:
        corpus = training_corpus(run.folder, cache_dir)
        if corpus.fingerprint != run.record["data"]["fingerprint"]:
            raise DataError("it is not the data that the run was trained on")
        numbers = column(corpus.splits[split], "row").tolist()
        wanted = {row.row for row in rows}
        texts = {
            number: text
            for number, text in zip(numbers, texts_of(corpus.splits[split]), strict=True)
            if number in wanted
        }
    except ElmoError as error:
        raise DataError(f"the texts are not shown: {error}") from error
    return [row._replace(text=texts.get(row.row)) for row in rows]


def _not_at_hand(run: FinishedRun) -> str | None:
    """Return why the texts of a run cannot be shown without a download; None where they can."""
    data = run.record["settings"].get("data", {})
    if run.record["data"]["name"] == TOY or str(data.get("_target_")).endswith("Files"):
        return None
    if "dir" not in data:
        return "the texts are not shown: they would have to be downloaded"
    if not (data["dir"] or os.environ.get("AG_NEWS_DIR")):
        return "the texts are not shown: set AG_NEWS_DIR to the folder of AG News to see them"
    return None
