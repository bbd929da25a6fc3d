"""What a report is made of: the runs of one corpus, sorted by what they are."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from elmo.errors import ArtifactError, DataError
from elmo.evaluation.significance import summarise
from elmo.report.material import Classifier, Material, share_of_labels, value_of
from elmo.runs.finished import Setting, finished_runs, group_by_setting, on_one_corpus
from elmo.runs.labels import label_of

NEIGHBOURS = "neighbours.json"


def collect(folders: Sequence[Path], data: str | None = None) -> Material:
    """
    Raises:
        ArtifactError: no finished run lies below the folders.
        ConfigError: the runs are of different data, and `data` does not say of which.
        DataError: a folder is not there, or a file in it is damaged.
    """
    runs = on_one_corpus(finished_runs(folders), data)
    if not runs:
        named = ", ".join(map(str, folders))
        raise ArtifactError(f"{named}: no finished run below it; expected runs or sweeps")
    facts = runs[0].record["data"]
    bilms = [run for run in runs if "val/perplexity" in run.record["metrics"]]
    bilms.sort(key=lambda run: value_of(run.record, "val/perplexity"))
    classifiers: list[Classifier] = []
    few: list[Classifier] = []
    for setting in group_by_setting([run for run in runs if run.is_classifier]):
        whole = share_of_labels(setting.records[0]) == 1
        (classifiers if whole else few).append(_classifier(setting))
    classifiers.sort(key=lambda one: (-one.mean("val/accuracy"), one.title))
    lines, alone = _lines(classifiers, few)
    neighbours = [
        found
        for file in sorted({f for folder in folders for f in folder.rglob(NEIGHBOURS)})
        if (found := _json(file)).get("fingerprint") == facts["fingerprint"]
    ]
    versions = runs[0].record.get("versions", {})
    return Material(facts, bilms, classifiers, lines, neighbours, alone, versions)


def _classifier(setting: Setting) -> Classifier:
    """Return a setting with the summary of its tested runs; with few labels none is needed."""
    if share_of_labels(setting.records[0]) < 1:
        return Classifier(label_of(setting.records[0]), setting, None)
    tested = [run for run in zip(setting.folders, setting.records, strict=True) if _is_tested(*run)]
    if not tested:
        return Classifier(setting.name, setting, None)
    some = Setting(setting.name, *map(list, zip(*tested, strict=True)))
    return Classifier(setting.name, some, summarise(some.outcomes()))


def _is_tested(folder: Path, record: dict[str, Any]) -> bool:
    """On the whole test split: with `trainer.limit_test_batches` a run has only seen some of it."""
    file = folder / "predictions/test.parquet"
    return file.is_file() and pq.read_metadata(file).num_rows == record["data"]["test_rows"]


def _lines(
    full: Sequence[Classifier], few: Sequence[Classifier]
) -> tuple[dict[str, list[Classifier]], list[Classifier]]:
    """Settings at several shares of the labels, in the order of these; and what stands alone.

    At each share the best on validation, should there be several.
    """
    lines: dict[str, dict[float, list[Classifier]]] = {}
    for one in [*full, *few]:
        lines.setdefault(one.line, {}).setdefault(one.share, []).append(one)
    found: dict[str, list[Classifier]] = {}
    alone: list[Classifier] = []
    for shares in lines.values():
        best = [max(ones, key=lambda one: one.mean("val/accuracy")) for ones in shares.values()]
        if len(best) > 1:
            best.sort(key=lambda one: one.share)
            title = best[-1].title
            if title in found:
                title = f"{title} ({len(found)})"
            found[title] = [one._replace(title=title) for one in best]
        else:
            alone += [one for one in best if one.share < 1]
    return dict(sorted(found.items())), alone


def curves(folder: Path) -> dict[str, np.ndarray]:
    """Of each scalar its steps and values (N, 2); nothing where the run kept none."""
    file = folder / "tables" / "curves.csv"
    if not file.is_file():
        return {}
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        with file.open(newline="") as handle:
            for row in csv.DictReader(handle):
                found.setdefault(row["tag"], []).append((float(row["step"]), float(row["value"])))
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{file}: damaged ({error!r}); remove it, or name other runs") from error
    return {tag: np.array(points) for tag, points in found.items()}


class Words(NamedTuple):
    """How many words each test row has (N,), and how many of them are `<unk>`."""

    words: np.ndarray
    unknown: np.ndarray


def word_counts(material: Material) -> Words | None:
    """From the predictions of the best classifier that counts them; of a biLM, if there is one."""
    for classifier in sorted(material.tested, key=lambda one: not one.is_elmo):
        file = classifier.setting.folders[0] / "predictions/test.parquet"
        if "words" in pq.read_schema(file).names:
            table = pq.read_table(file, columns=["words", "unknown"])
            return Words(*(table[name].to_numpy() for name in ("words", "unknown")))
    return None


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable ({error}); remove it") from error
    return content if isinstance(content, dict) else {}
