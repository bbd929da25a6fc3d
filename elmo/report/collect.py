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
from elmo.gather import Setting, choices_of, finished_runs, of_one_data, settings_of, told_apart
from elmo.report.material import Classifier, Material, value_of
from elmo.runs import compared
from elmo.significance import summarise

NAMES = {"word2vec": "Word2Vec", "svd": "SVD", "elmo": "ELMo"}
LINEAR = {"svm": "TF-IDF, linear SVM", "logistic": "TF-IDF, logistic regression"}
GAMMA = {True: ", gamma learned", False: ", gamma fixed"}  # where that is not the default
NEIGHBOURS = "neighbours.json"


def collect(folders: Sequence[Path], data: str | None = None) -> Material:
    """
    Raises:
        ArtifactError: no finished run lies below the folders.
        ConfigError: the runs are of different data, and `data` does not say of which.
        DataError: a folder is not there, or a file in it is damaged.
    """
    runs = of_one_data(finished_runs(folders), data)
    if not runs:
        named = ", ".join(map(str, folders))
        raise ArtifactError(f"{named}: no finished run below it; expected runs or sweeps")
    facts = runs[0].record["data"]
    bilms = [run for run in runs if "val/perplexity" in run.record["metrics"]]
    bilms.sort(key=lambda run: value_of(run.record, "val/perplexity"))
    settings = settings_of([run for run in runs if run.is_classifier])
    full = [one for one in settings if Classifier("", one, None).share == 1]
    few = [one for one in settings if one not in full]
    classifiers = [_classifier(*pair) for pair in zip(titles(full), full, strict=True)]
    classifiers.sort(key=lambda one: (-one.mean("val/accuracy"), one.title))
    fewer = [Classifier(_title(one.records[0]), one, None) for one in few]
    lines, alone = _lines(classifiers, fewer)
    neighbours = [
        found
        for file in sorted({f for folder in folders for f in folder.rglob(NEIGHBOURS)})
        if (found := _json(file)).get("fingerprint") == facts["fingerprint"]
    ]
    versions = runs[0].record.get("versions", {})
    return Material(facts, bilms, classifiers, lines, neighbours, alone, versions)


def _classifier(title: str, setting: Setting) -> Classifier:
    tested = [run for run in zip(setting.folders, setting.records, strict=True) if _is_tested(*run)]
    if not tested:
        return Classifier(title, setting, None)
    some = Setting(setting.name, *map(list, zip(*tested, strict=True)))
    return Classifier(title, some, summarise(some.outcomes()))


def _is_tested(folder: Path, record: dict[str, Any]) -> bool:
    """On the whole test split: with `trainer.limit_test_batches` a run has only seen some of it."""
    file = folder / "predictions/test.parquet"
    return file.is_file() and pq.read_metadata(file).num_rows == record["data"]["test_rows"]


def titles(settings: Sequence[Setting]) -> list[str]:
    """What a reader calls them; settings follow where that does not tell them apart.

    The one with the most runs among those that share a title needs none.
    """
    found = [_title(setting.records[0]) for setting in settings]
    records = [setting.records[0] for setting in settings]
    told = told_apart(found, [{**compared(r["settings"]), **choices_of(r)} for r in records])
    names = [
        name if name == title else f"{title}, {name.removeprefix(title).strip()}"
        for title, name in zip(found, told, strict=True)
    ]
    for title in set(found):
        runs = [len(s.records) if t == title else 0 for s, t in zip(settings, found, strict=True)]
        if runs.count(max(runs)) == 1:
            names[runs.index(max(runs))] = title
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]


def _title(record: dict[str, Any]) -> str:
    choices, settings = record["choices"], record["settings"]
    if "classifier" in choices:
        return LINEAR.get(choices["classifier"], f"TF-IDF, {choices['classifier']}")
    name = NAMES.get(choices["encoder"], choices["encoder"])
    if settings["encoder"].get("skip_gram") is False:
        name += " (CBOW)"
    if choices["encoder"] != "elmo":
        return name
    mixer = choices["mixer"]
    if mixer == "layer":
        return f"{name}, layer {settings['mixer']['layer']}"
    learned = settings["mixer"].get("learn_gamma")
    unusual = {"frozen": True, "trainable": False, "learned": False}.get(mixer)
    gamma = "" if learned is None or learned != unusual else GAMMA[learned]
    matrices = " with matrices" if settings["mixer"].get("projection_dim") else ""
    tuned = ", fine-tuned" if settings["encoder"].get("finetune") else ""
    return f"{name}, {mixer}{matrices}{gamma}{tuned}"


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
