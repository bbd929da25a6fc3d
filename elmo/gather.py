"""Finished classifiers, gathered by their settings: seeds of one setting are repetitions of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from elmo.errors import ArtifactError, ConfigError, DataError
from elmo.resume import RUN_FILE
from elmo.runs import compared, read_record


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


def gather(folders: Sequence[Path]) -> list[Setting]:
    """The settings of all finished classifiers below some folders, in the order they are found.

    Raises:
        ArtifactError: there are none.
        ConfigError: they are of different corpora, or of different rows of one.
    """
    found = sorted({file.parent for folder in folders for file in folder.rglob("metrics.json")})
    runs = [(folder, record) for folder in found if "choices" in (record := read_record(folder))]
    runs = [(folder, record) for folder, record in runs if (folder / "predictions").is_dir()]
    if not runs:
        named = ", ".join(map(str, folders))
        raise ArtifactError(
            f"{named}: no finished classifier below it; expected folders of train_cls.py or "
            "train_tfidf.py"
        )
    data = {record["data"]["fingerprint"]: (folder, record["data"]) for folder, record in runs}
    if len(data) > 1:
        kinds = "; ".join(
            f"{folder}: {facts['name']}, {facts['train_rows']:,} train rows"
            for folder, facts in data.values()
        )
        raise ConfigError(f"runs of different data do not compare ({kinds}); name some of them")
    groups: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for folder, record in runs:
        record["settings"]["bilm"] = _bilm_of(folder)
        key = json.dumps([record["choices"], _plain(record["settings"])], sort_keys=True)
        groups.setdefault(key, []).append((folder, record))
    names = _names([group[0][1] for group in groups.values()])
    return [
        Setting(name, *map(list, zip(*group, strict=True)))
        for name, group in zip(names, groups.values(), strict=True)
    ]


def _bilm_of(folder: Path) -> str | None:
    """The beginning of the hash of the biLM that a classifier stands on."""
    file = folder / RUN_FILE
    start = json.loads(file.read_text()) if file.is_file() else {"settings": {}}
    found = start["settings"].get("bilm_sha256")
    return found[:8] if found else None


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """What a figure depends on, but for the seeds, with dotted keys."""
    return {
        key: value for key, value in compared(settings).items() if key.rpartition(".")[2] != "seed"
    }


def _names(records: Sequence[dict[str, Any]]) -> list[str]:
    """What tells each from the others: choices that vary, then settings that vary among equals."""
    choices = [record["choices"] for record in records]
    groups = sorted({group for chosen in choices for group in chosen})
    varying = [g for g in groups if len({c[g] for c in choices if g in c}) > 1]
    some = [g for g in groups if any(g not in chosen for chosen in choices)]  # of one job alone
    titles = []
    for chosen in choices:
        told = [chosen[group] for group in varying if group in chosen]
        titles.append(" ".join(told or [chosen[group] for group in some if group in chosen]))
    plain = [_plain(record["settings"]) for record in records]
    for title in set(titles):
        alike = [index for index, other in enumerate(titles) if other == title]
        if len(alike) > 1:
            keys = sorted({key for index in alike for key in plain[index]})
            differ = [
                key for key in keys if len({str(plain[index].get(key)) for index in alike}) > 1
            ]
            for index in alike:
                told = [f"{key}={plain[index].get(key)}" for key in differ]
                titles[index] = " ".join([title, *told]).strip()
    return [title or "all" for title in titles]


def read_outcome(folder: Path, record: dict[str, Any], split: str) -> Outcome:
    """
    Raises:
        DataError: the run has no predictions of the split.
    """
    file = folder / "predictions" / f"{split}.parquet"
    if not file.is_file():
        raise DataError(f"{file}: no such file; the run was made with evaluate_test=false")
    table = pq.read_table(file)
    columns = [name for name in table.column_names if name.startswith("p(")]
    return Outcome(
        record["settings"]["seed"],
        table["row"].to_numpy(),
        np.array(table["label"].to_pylist()),
        np.stack([table[name].to_numpy() for name in columns], axis=1),
        [name[2:-1] for name in columns],
    )
