"""Finished runs, found on disk and grouped: runs that differ only in seeds are one setting."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from elmo.errors import ArtifactError, ConfigError, DataError
from elmo.runs.keys import is_seed, relevant, relevant_choices, without_seeds
from elmo.runs.labels import distinguish
from elmo.runs.latest import is_released
from elmo.runs.recipes import inputs_under, recipes
from elmo.runs.record import METRICS_FILE, read_record


class Outcome(NamedTuple):
    """The predictions of one run for the N rows of a split."""

    seed: int | None  # None for a blend, which has none
    rows: np.ndarray  # (N,) numbers of the rows in the source
    labels: np.ndarray  # (N,) class names
    probabilities: np.ndarray  # (N, C)
    classes: list[str]
    bilm: str | None = None  # the beginning of the hash of the biLM that it is built on

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is right (N,)."""
        return np.array(self.classes)[self.probabilities.argmax(1)] == self.labels


class Setting(NamedTuple):
    """Finished runs that differ only in their seeds, or also in the seeds of their biLMs."""

    name: str  # its label; where several settings share one, what distinguishes them follows
    folders: list[Path]
    records: list[dict[str, Any]]

    def outcomes(self, split: str = "test") -> list[Outcome]:
        """Return the predictions of every run; raises `DataError` where a run kept none."""
        return [read_outcome(*run, split) for run in zip(self.folders, self.records, strict=True)]

    def keeps(self, split: str) -> bool:
        """Tell whether every run kept its predictions of a split."""
        return all(
            (folder / "predictions" / f"{split}.parquet").is_file() for folder in self.folders
        )


class FinishedRun(NamedTuple):
    """A run folder and the content of its `metrics.json`."""

    folder: Path
    record: dict[str, Any]

    @property
    def is_classifier(self) -> bool:
        return not {"encoder", "classifier"}.isdisjoint(self.record.get("choices", {}))

    @property
    def is_bilm(self) -> bool:
        """Whether it is a pretraining; an n-gram model has a perplexity as well."""
        has_perplexity = "val/perplexity" in self.record["metrics"]
        return has_perplexity and "ngram" not in self.record["settings"]

    @property
    def is_tested(self) -> bool:
        return "test/accuracy" in self.record["metrics"]


def finished_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """Return all finished runs below some folders, ordered by their paths.

    The released run is left out unless its folder is named: it is not the user's own.

    Raises:
        DataError: a folder does not exist, or a `metrics.json` cannot be read.
    """
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; expected runs or sweeps")
        named_released = is_released(folder)
        found |= {
            file.parent
            for file in folder.rglob(METRICS_FILE)
            if named_released or not is_released(file)
        }
    runs = []
    for folder in sorted(found):
        try:
            runs.append(FinishedRun(folder, read_record(folder)))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{folder / METRICS_FILE}: not readable ({error}); name other folders"
            ) from error
    return runs


def on_one_corpus(runs: Sequence[FinishedRun], wanted: str | None = None) -> list[FinishedRun]:
    """Return the runs on one corpus and the same rows of it.

    Args:
        wanted: the beginning of the fingerprint, or the name of the corpus where only one has it;
            None where all runs are on the same data.

    Raises:
        ConfigError: no data, or more than one, fits.
    """
    kinds: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if "data" in run.record:
            kinds.setdefault(run.record["data"]["fingerprint"], []).append(run)
    chosen = [
        key
        for key, members in kinds.items()
        if wanted is None or key.startswith(wanted) or members[0].record["data"]["name"] == wanted
    ]
    if len(chosen) == 1:
        return kinds[chosen[0]]
    if not kinds:
        return []
    listed = "; ".join(
        f"--data {key} ({_corpus_of(members[0])}, "
        f"{members[0].record['data']['train_rows']:,} train rows, {len(members)} runs)"
        for key, members in kinds.items()
    )
    found = "there are none" if not chosen else "there are more than one"
    problem = (
        "runs on different data do not compare" if wanted is None else f"--data {wanted}: {found}"
    )
    raise ConfigError(f"{problem}; choose one: {listed}")


def _corpus_of(run: FinishedRun) -> str:
    """Return the name of the corpus of a run, and what its splits are where they are others."""
    data = run.record["data"]
    return ", ".join(filter(None, (data["name"], data.get("variant"))))


def on_default_splits(runs: Sequence[FinishedRun], wanted: str | None = None) -> list[FinishedRun]:
    """Return the runs on one corpus with its default splits, which others are a variant of.

    Args:
        wanted: see `on_one_corpus`; the fingerprint of other splits takes these instead.

    Raises:
        ConfigError: see `on_one_corpus`.
    """
    kept = [run for run in runs if "data" in run.record]
    named = [run for run in kept if wanted and run.record["data"]["fingerprint"].startswith(wanted)]
    plain = [run for run in kept if not run.record["data"].get("variant")]
    return on_one_corpus(named or plain or kept, wanted)


def find_settings(folders: Sequence[Path], data: str | None = None) -> list[Setting]:
    """Return the settings of all finished classifiers below some folders.

    Classifiers on biLMs of one recipe are one setting, see `elmo.runs.recipes`.

    Args:
        data: see `on_one_corpus`.

    Raises:
        ArtifactError: there are none.
        ConfigError: they are on different corpora, or on different rows of one.
    """
    every = finished_runs(folders)
    runs = [run for run in every if run.is_classifier]
    if not runs:
        named = ", ".join(map(str, folders))
        raise ArtifactError(
            f"{named}: no finished classifier below it; expected folders of train_cls.py or "
            "train_tfidf.py"
        )
    chosen = on_one_corpus(runs, data)
    bilms = [run for run in every if run.is_bilm]
    return group_by_setting(chosen, recipes([run.folder for run in chosen], bilms))


def group_by_setting(
    runs: Sequence[FinishedRun], same_bilms: Mapping[str, str] | None = None
) -> list[Setting]:
    """Group runs that differ only in their seeds, in the order in which settings are found.

    Where runs have the same seeds as well, one counts: the last by folder name among those that
    were evaluated on the test split, or among all where none was.

    Args:
        same_bilms: the recipe of each biLM by its digest; None lets every biLM make a setting of
            its own.
    """
    recipe_of = same_bilms or {}
    groups: dict[str, dict[str, FinishedRun]] = {}
    for run in runs:
        settings = run.record["settings"]
        settings |= inputs_under(run.folder)
        plain = relevant(settings)
        choices = relevant_choices(run.record["choices"])
        shared = without_seeds(plain) | {"bilm": recipe_of.get(settings["bilm"], settings["bilm"])}
        key = json.dumps([choices, shared, _named(run)], sort_keys=True)
        group = groups.setdefault(key, {})
        seeds = json.dumps(plain, sort_keys=True)
        if seeds not in group or run.is_tested or not group[seeds].is_tested:
            group[seeds] = run
    # Ordered by seeds, not by path: where runs lie does not change what is said of them.
    members = [sorted(group.values(), key=_seeds) for group in groups.values()]
    names = distinguish([_with_all_bilms(group) for group in members])
    return [
        Setting(name, [run.folder for run in group], [run.record for run in group])
        for name, group in zip(names, members, strict=True)
    ]


def _named(run: FinishedRun) -> list[Any]:
    """Return study and label, by which a user keeps runs apart."""
    return [run.record.get("study"), run.record["settings"].get("label")]


def _seeds(run: FinishedRun) -> tuple[str, list[tuple[str, Any]]]:
    settings = relevant(run.record["settings"])
    seeds = sorted((key, settings[key]) for key in settings if is_seed(key))
    return settings.get("bilm", ""), seeds


def _with_all_bilms(group: Sequence[FinishedRun]) -> dict[str, Any]:
    """Return the first record of a setting, with all biLMs of its runs in the place of one."""
    record = group[0].record
    bilms = sorted({run.record["settings"]["bilm"] for run in group} - {None})
    return {**record, "settings": {**record["settings"], "bilm": "+".join(bilms) or None}}


def read_outcome(folder: Path, record: dict[str, Any], split: str) -> Outcome:
    """Read the predictions of a run for a split.

    Raises:
        DataError: the run kept none.
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
        record["settings"].get("bilm"),
    )
