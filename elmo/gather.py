"""Finished classifiers, gathered by their settings: seeds of one setting are repetitions of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from elmo import latest
from elmo.errors import ArtifactError, ConfigError, DataError
from elmo.resume import RUN_FILE
from elmo.runs import NOT_COMPARED, compared, is_seed, read_record


class Outcome(NamedTuple):
    """What one run predicted for the N rows of a split."""

    seed: int
    rows: np.ndarray  # (N,) numbers of the rows in the source
    labels: np.ndarray  # (N,) class names
    probabilities: np.ndarray  # (N, C)
    classes: list[str]

    @property
    def correct(self) -> np.ndarray:
        """(N,) of truth values."""
        return np.array(self.classes)[self.probabilities.argmax(1)] == self.labels


class Setting(NamedTuple):
    """Runs that differ in their seeds alone."""

    name: str
    folders: list[Path]
    records: list[dict[str, Any]]

    def outcomes(self, split: str = "test") -> list[Outcome]:
        return [read_outcome(*run, split) for run in zip(self.folders, self.records, strict=True)]


class FinishedRun(NamedTuple):
    """A folder with a `metrics.json`, and what that holds."""

    folder: Path
    record: dict[str, Any]

    @property
    def is_classifier(self) -> bool:
        return not {"encoder", "classifier"}.isdisjoint(self.record.get("choices", {}))

    @property
    def is_tested(self) -> bool:
        return "test/accuracy" in self.record["metrics"]


def finished_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """All finished runs below some folders, in the order of their paths.

    The released run is left out where it is not named: it is not the user's own.

    Raises:
        DataError: a folder is not there, or a `metrics.json` cannot be read.
    """
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; expected runs or sweeps")
        named_released = folder.resolve().is_relative_to(latest.RELEASED)
        found |= {
            file.parent
            for file in folder.rglob("metrics.json")
            if named_released or not file.resolve().is_relative_to(latest.RELEASED)
        }
    runs = []
    for folder in sorted(found):
        try:
            runs.append(FinishedRun(folder, read_record(folder)))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{folder / 'metrics.json'}: not readable ({error}); name other folders"
            ) from error
    return runs


def of_one_data(runs: Sequence[FinishedRun], wanted: str | None = None) -> list[FinishedRun]:
    """The runs of one corpus and the same rows of it.

    Args:
        wanted: the beginning of the fingerprint, or the name of the corpus where that says enough;
            None where there is only one.

    Raises:
        ConfigError: that is not one.
    """
    kinds: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if "data" in run.record:
            kinds.setdefault(run.record["data"]["fingerprint"], []).append(run)
    chosen = [
        key
        for key, of_it in kinds.items()
        if wanted is None or key.startswith(wanted) or of_it[0].record["data"]["name"] == wanted
    ]
    if len(chosen) == 1:
        return kinds[chosen[0]]
    listed = "; ".join(
        f"--data {key} ({of_it[0].record['data']['name']}, "
        f"{of_it[0].record['data']['train_rows']:,} train rows, {len(of_it)} runs)"
        for key, of_it in kinds.items()
    )
    if not kinds:
        return []
    found = "there are none" if not chosen else "there are more"
    problem = (
        "runs of different data do not compare" if wanted is None else f"--data {wanted}: {found}"
    )
    raise ConfigError(f"{problem}; choose one: {listed}")


def gather(folders: Sequence[Path], data: str | None = None) -> list[Setting]:
    """The settings of all finished classifiers below some folders, in the order they are found.

    Args:
        data: see `of_one_data`.

    Raises:
        ArtifactError: there are none.
        ConfigError: they are of different corpora, or of different rows of one.
    """
    runs = [run for run in finished_runs(folders) if run.is_classifier]
    if not runs:
        named = ", ".join(map(str, folders))
        raise ArtifactError(
            f"{named}: no finished classifier below it; expected folders of train_cls.py or "
            "train_tfidf.py"
        )
    return settings_of(of_one_data(runs, data))


def settings_of(runs: Sequence[FinishedRun]) -> list[Setting]:
    """Runs that differ in their seeds alone are one setting, named by what tells it apart.

    Of runs that are alike in their seeds, too, one counts: of those that were evaluated on the test
    split, where there are any, the last by the name of its folder.
    """
    groups: dict[str, dict[str, FinishedRun]] = {}
    for run in runs:
        settings = run.record["settings"]
        settings["bilm"] = _bilm_of(run.folder)
        key = json.dumps([choices_of(run.record), _plain(settings)], sort_keys=True)
        group = groups.setdefault(key, {})
        seeds = json.dumps(compared(settings), sort_keys=True)
        if seeds not in group or run.is_tested or not group[seeds].is_tested:
            group[seeds] = run
    # Not by path: where runs lie does not change what is said of them.
    alike = [sorted(group.values(), key=_seeds) for group in groups.values()]
    names = _names([group[0].record for group in alike])
    return [
        Setting(name, [run.folder for run in group], [run.record for run in group])
        for name, group in zip(names, alike, strict=True)
    ]


def _seeds(run: FinishedRun) -> list[tuple[str, Any]]:
    settings = compared(run.record["settings"])
    return sorted((key, settings[key]) for key in settings if is_seed(key))


def choices_of(record: dict[str, Any]) -> dict[str, str]:
    """Which file of each config group a run took, but for those that no figure depends on."""
    return {group: name for group, name in record["choices"].items() if group not in NOT_COMPARED}


def _bilm_of(folder: Path) -> str | None:
    """The beginning of the hash of the biLM that a classifier stands on."""
    file = folder / RUN_FILE
    start = json.loads(file.read_text()) if file.is_file() else {"settings": {}}
    found = start["settings"].get("bilm_sha256")
    return found[:8] if found else None


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """What a figure depends on, but for the seeds, with dotted keys."""
    return {key: value for key, value in compared(settings).items() if not is_seed(key)}


def _names(records: Sequence[dict[str, Any]]) -> list[str]:
    """What tells each from the others: choices that vary, then settings that vary among equals."""
    choices = [choices_of(record) for record in records]
    groups = sorted({group for chosen in choices for group in chosen})
    varying = [g for g in groups if len({c[g] for c in choices if g in c}) > 1]
    some = [g for g in groups if any(g not in chosen for chosen in choices)]  # of one job alone
    titles = []
    for chosen in choices:
        told = [chosen[group] for group in varying if group in chosen]
        titles.append(" ".join(told or [chosen[group] for group in some if group in chosen]))
    return [
        title or "all" for title in told_apart(titles, [compared(r["settings"]) for r in records])
    ]


def told_apart(titles: Sequence[str], settings: Sequence[dict[str, Any]]) -> list[str]:
    """Titles, those that several have followed by the settings in which these differ.

    Args:
        settings: of each, with dotted keys; a seed tells nothing apart.
    """
    told = list(titles)
    plain = [{key: value for key, value in one.items() if not is_seed(key)} for one in settings]
    for title in set(titles):
        alike = [index for index, other in enumerate(titles) if other == title]
        if len(alike) > 1:
            keys = sorted({key for index in alike for key in plain[index]})
            differ = [
                key for key in keys if len({str(plain[index].get(key)) for index in alike}) > 1
            ]
            for index in alike:
                values = [f"{key}={plain[index][key]}" for key in differ if key in plain[index]]
                told[index] = " ".join([title, *values]).strip()
    return told


def read_outcome(folder: Path, record: dict[str, Any], split: str) -> Outcome:
    """
    Raises:
        DataError: the run has no predictions of the split.
    """
    file = folder / "predictions" / f"{split}.parquet"
    if not file.is_file():
        raise DataError(f"{file}: no such file; the run kept no predictions of the {split} split")
    table = pq.read_table(file)
    columns = [name for name in table.column_names if name.startswith("p(")]
    return Outcome(
        record["settings"]["seed"],
        table["row"].to_numpy(),
        np.array(table["label"].to_pylist()),
        np.stack([table[name].to_numpy() for name in columns], axis=1),
        [name[2:-1] for name in columns],
    )
