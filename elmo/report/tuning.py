"""The effect of tuning, from the tables of trials that `elmo tune` writes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elmo.errors import DataError
from elmo.report.writing import Manuscript, number

TRIALS = "trials.csv"
NO_SETTINGS = ("trial", "epochs", "status")


class Search(NamedTuple):
    """The trials of one search, as `trials.csv` has them: by column, as text."""

    name: str  # of the folder
    metric: str  # such as `val/accuracy`
    trials: list[dict[str, str]]

    @property
    def sign(self) -> int:
        """1 where a higher value is better, else -1."""
        return -1 if "perplexity" in self.metric or "loss" in self.metric else 1

    @property
    def finished(self) -> list[dict[str, str]]:
        """The trials that have a value and were trained to their end, the best first."""
        done = [trial for trial in self.trials if trial["status"] == "ok" and trial[self.metric]]
        return sorted(done, key=lambda trial: -self.sign * float(trial[self.metric]))


def read_searches(folders: Sequence[Path]) -> list[Search]:
    """Return the searches whose tables lie below some folders.

    Raises:
        DataError: a table is damaged.
    """
    searches = []
    for file in sorted({file for folder in folders for file in folder.rglob(TRIALS)}):
        try:
            with file.open(newline="") as handle:
                trials = list(csv.DictReader(handle))
            metric = next(key for key in trials[0] if key.startswith("val/"))
            search = Search(file.parent.name, metric, trials)
            _ = search.finished
        except (OSError, ValueError, KeyError, IndexError, StopIteration, TypeError) as error:
            raise DataError(
                f"{file}: no table of trials ({error!r}); expected that of elmo tune"
            ) from error
        searches.append(search)
    return searches


def effect_of_tuning(searches: Sequence[Search], paper: Manuscript) -> None:
    """Write what each search gained on validation, and the mean by value of each setting."""
    shown = [search for search in searches if len(search.finished) > 1]
    if not shown:
        paper.leave_out("Effect of tuning", f"no folder has a `{TRIALS}` with two trials or more")
        return
    paper.heading("Effect of tuning")
    paper.paragraph(
        "Searches of hyperparameters, judged on validation alone; the test split was not read. "
        "The gain is that of the best trial over the median of those that were trained to their "
        "end: the best of many is a little too good, as chance chooses as well."
    )
    rows = []
    for search in shown:
        values = [float(trial[search.metric]) for trial in search.finished]
        best, median, worst = values[0], float(np.median(values)), values[-1]
        count = f"{len(values)} of {len(search.trials)}"
        cells = [_value(value, search) for value in (best, median, worst)]
        rows.append([search.name, search.metric, count, *cells, _gain(best, median, search)])
    header = ["search", "metric", "trials", "best", "median", "worst", "gain"]
    paper.table("What tuning gained on validation.", header, rows)
    for search in shown:
        if by_value := _by_value(search):
            paper.table(
                f"Search `{search.name}`: {search.metric} by the value of each setting. The others "
                "vary as well, so a mean says little where trials are few.",
                ["setting", "value", "trials", "mean", "best"],
                by_value,
            )


def _value(value: float, search: Search) -> str:
    return number(value, 4 if search.sign > 0 else 2)


def _gain(best: float, median: float, search: Search) -> str:
    if search.metric.endswith("accuracy"):
        return f"{100 * (best - median):+.2f} points"
    return f"{100 * (best / median - 1):+.1f} %"


def _by_value(search: Search) -> list[list[str]]:
    rows = []
    for key in search.trials[0]:
        groups: dict[str, list[float]] = {}
        if key not in (*NO_SETTINGS, search.metric):
            for trial in search.finished:  # the best first, so the best value of a setting is, too
                groups.setdefault(trial[key], []).append(float(trial[search.metric]))
        if len(groups) > 1 and any(len(found) > 1 for found in groups.values()):
            for index, (value, found) in enumerate(groups.items()):
                row = ["" if index else f"`{key}`", value, str(len(found))]
                rows.append([*row, *(_value(v, search) for v in (float(np.mean(found)), found[0]))])
    return rows
