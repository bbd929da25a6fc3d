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
from elmo.gather import FinishedRun, Setting, finished_runs, of_one_data, settings_of, told_apart
from elmo.runs import compared
from elmo.significance import Comparison, Summary, compare, summarise

NAMES = {"word2vec": "Word2Vec", "svd": "SVD", "elmo": "ELMo"}
LINEAR = {"svm": "TF-IDF, linear SVM", "logistic": "TF-IDF, logistic regression"}
MODES = ("trainable", "frozen", "learned")
# What goes with the number of labels, see conf/labels.
OF_THE_SHARE = ("label_share", "datamodule.token_budget", "trainer.max_epochs")
NEIGHBOURS = "neighbours.json"


class Classifier(NamedTuple):
    """One setting with what its runs found."""

    title: str
    setting: Setting
    summary: Summary | None  # of the test split; None where it was not evaluated

    @property
    def choices(self) -> dict[str, str]:
        return self.setting.records[0]["choices"]

    @property
    def share(self) -> float:
        """Of the labels that it learned from."""
        return self.setting.records[0]["settings"].get("label_share", 1.0)

    @property
    def is_elmo(self) -> bool:
        return self.choices.get("encoder") == "elmo"

    @property
    def kind(self) -> str:
        """What represents the text: the name of an encoder, or `tfidf`."""
        return self.choices.get("encoder", "tfidf")

    @property
    def lambdas(self) -> np.ndarray:
        """(seeds, L) on the validation rows."""
        return np.array([record["lambdas"] for record in self.setting.records])

    def mean(self, figure: str) -> float:
        """Over the seeds; not a number where a run does not have it."""
        found = [record["metrics"].get(figure, np.nan) for record in self.setting.records]
        return float(np.mean([np.nan if value is None else value for value in found]))

    def by_seed(self, figure: str) -> dict[int, float]:
        """Of the runs that have it."""
        return {
            record["settings"]["seed"]: record["metrics"][figure]
            for record in self.setting.records
            if figure in record["metrics"]
        }

    def deviation(self, figure: str) -> float:
        found = [record["metrics"].get(figure, np.nan) for record in self.setting.records]
        return float(np.std(found, ddof=1)) if len(found) > 1 else float("nan")

    def confusion(self, split: str) -> np.ndarray:
        """(C true, C predicted), the sum over the seeds."""
        return np.sum([r["splits"][split]["confusion"] for r in self.setting.records], axis=0)


class Material(NamedTuple):
    """Everything that a report tells of."""

    data: dict[str, Any]  # facts of the corpus
    bilms: list[FinishedRun]
    classifiers: list[Classifier]  # of all labels, the best on validation first
    lines: dict[str, list[Classifier]]  # the same setting at several shares of the labels
    neighbours: list[dict[str, Any]]

    def best(self, classifiers: Sequence[Classifier]) -> Classifier | None:
        """On validation: the test split chooses nothing."""
        return max(classifiers, key=lambda one: one.mean("val/accuracy"), default=None)

    def of_mode(self, mode: str) -> Classifier | None:
        """The best ELMo classifier of a lambda mode."""
        modes = [c for c in self.classifiers if c.is_elmo and c.choices["mixer"] == mode]
        return self.best(modes)

    def representations(self) -> list[Classifier]:
        """The best of each kind, those of TF-IDF both: ELMo with one of the lambda modes."""
        chosen = [self.best([m for mode in MODES if (m := self.of_mode(mode))])]
        chosen += [
            self.best([c for c in self.classifiers if c.kind == kind])
            for kind in sorted({c.kind for c in self.classifiers} - {"elmo", "tfidf"})
        ]
        tfidf = [c for c in self.classifiers if c.kind == "tfidf"]
        for name in sorted({c.choices["classifier"] for c in tfidf}):
            chosen.append(self.best([c for c in tfidf if c.choices["classifier"] == name]))
        return [one for one in chosen if one]


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
    settings = settings_of([run for run in runs if run.is_classifier])
    full = [one for one in settings if _share(one) == 1]
    names = titles(full)
    classifiers = [_classifier(*pair) for pair in zip(names, full, strict=True)]
    classifiers.sort(key=lambda one: -one.mean("val/accuracy"))
    neighbours = [
        found
        for file in sorted({f for folder in folders for f in folder.rglob(NEIGHBOURS)})
        if (found := _json(file)).get("fingerprint") == facts["fingerprint"]
    ]
    return Material(facts, bilms, classifiers, _lines(settings), neighbours)


def _share(setting: Setting) -> float:
    return setting.records[0]["settings"].get("label_share", 1.0)


def _classifier(title: str, setting: Setting) -> Classifier:
    tested = all((f / "predictions/test.parquet").is_file() for f in setting.folders)
    return Classifier(title, setting, summarise(setting.outcomes()) if tested else None)


def titles(settings: Sequence[Setting]) -> list[str]:
    """What a reader calls them; settings follow where that does not tell them apart."""
    found = [_title(setting.records[0]) for setting in settings]
    told = told_apart(found, [setting.records[0]["settings"] for setting in settings])
    return [
        name if name == title else f"{title}, {name.removeprefix(title).strip()}"
        for title, name in zip(found, told, strict=True)
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
    return f"{name}, layer {settings['mixer']['layer']}" if mixer == "layer" else f"{name}, {mixer}"


def _lines(settings: Sequence[Setting]) -> dict[str, list[Classifier]]:
    """Settings that were trained with several shares of the labels, in the order of these."""
    lines: dict[str, list[Setting]] = {}
    for setting in settings:
        record = setting.records[0]
        choices = {k: v for k, v in record["choices"].items() if k not in ("labels", "experiment")}
        plain = {
            key: value
            for key, value in compared(record["settings"]).items()
            if key not in OF_THE_SHARE and key.rpartition(".")[2] != "seed"
        }
        key = json.dumps([choices, plain], sort_keys=True)
        lines.setdefault(key, []).append(setting)
    several = [line for line in lines.values() if len({_share(one) for one in line}) > 1]
    names = told_apart(
        [_title(line[0].records[0]) for line in several],
        [{**line[0].records[0]["settings"], **dict.fromkeys(OF_THE_SHARE)} for line in several],
    )
    return {
        name: sorted((Classifier(name, one, None) for one in line), key=lambda one: one.share)
        for name, line in zip(names, several, strict=True)
    }


def paired(classifiers: Sequence[Classifier], first: bool = False) -> list[Comparison]:
    """Paired tests of classifiers that were tested: of every pair, or of the first with each."""
    pairs = ((0, other) for other in range(1, len(classifiers))) if first else None
    return compare([one.setting.outcomes() for one in classifiers], pairs)


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


class Rows(NamedTuple):
    """The test rows with what is known of them apart from any classifier."""

    row: np.ndarray  # (N,) number in the source
    words: np.ndarray
    unknown: np.ndarray  # words that are `<unk>`


def row_facts(material: Material) -> Rows | None:
    """From the first predictions that have them: those of a biLM count with its vocabulary."""
    for classifier in sorted(material.classifiers, key=lambda one: not one.is_elmo):
        for folder in classifier.setting.folders:
            file = folder / "predictions/test.parquet"
            if file.is_file() and "words" in pq.read_schema(file).names:
                table = pq.read_table(file, columns=["row", "words", "unknown"])
                return Rows(*(table[name].to_numpy() for name in ("row", "words", "unknown")))
    return None


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable ({error}); remove it") from error
    return content if isinstance(content, dict) else {}
