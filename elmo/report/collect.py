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
from elmo.runs import NOT_COMPARED, compared, is_seed
from elmo.significance import Comparison, Summary, compare, summarise

NAMES = {"word2vec": "Word2Vec", "svd": "SVD", "elmo": "ELMo"}
LINEAR = {"svm": "TF-IDF, linear SVM", "logistic": "TF-IDF, logistic regression"}
GAMMA = {True: ", gamma learned", False: ", gamma fixed"}  # where that is not the default
MODES = ("trainable", "frozen", "learned")
# What goes with the number of labels, see conf/labels.
OF_THE_SHARE = ("label_share", "datamodule.token_budget", "trainer.max_epochs")
NEIGHBOURS = "neighbours.json"


class Classifier(NamedTuple):
    """One setting with what its runs found."""

    title: str
    setting: Setting  # where some of its runs were tested, these alone
    summary: Summary | None  # of the test split; None where no run was tested

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

    @property
    def line(self) -> str:
        """The same for the same setting with another share of the labels."""
        plain = self.plain
        choices = {k: v for k, v in self.choices.items() if k not in (*NOT_COMPARED, "labels")}
        rest = {key: plain[key] for key in plain if key not in OF_THE_SHARE}
        return json.dumps([choices, rest], sort_keys=True)

    @property
    def frame(self) -> dict[str, Any]:
        """What a comparison of mixers and encoders holds still: head, optimizer, epochs, ..."""
        told = {**self.plain, **self.choices}
        return {
            key: value
            for key, value in sorted(told.items())
            if key not in (*NOT_COMPARED, "mixer", "encoder", "bilm", "labels")
            and not key.startswith(("mixer.", "encoder."))
        }

    @property
    def plain(self) -> dict[str, Any]:
        """Its settings with dotted keys, but for the seeds."""
        settings = compared(self.setting.records[0]["settings"])
        return {k: v for k, v in settings.items() if not is_seed(k)}

    def values(self, figure: str) -> np.ndarray:
        """Of each run; not a number where it has none."""
        return np.array([value_of(record, figure) for record in self.setting.records])

    def mean(self, figure: str) -> float:
        return float(self.values(figure).mean())

    def by_seed(self, figure: str) -> dict[int, float]:
        """Of the runs that have it."""
        seeds = [record["settings"]["seed"] for record in self.setting.records]
        found = zip(seeds, self.values(figure).tolist(), strict=True)
        return {seed: value for seed, value in found if not np.isnan(value)}

    def deviation(self, figure: str) -> float:
        found = self.values(figure)
        return float(found.std(ddof=1)) if len(found) > 1 else float("nan")

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
    alone: list[Classifier]  # with few labels, and no other share to be seen beside
    versions: dict[str, str]

    @property
    def tested(self) -> list[Classifier]:
        return [one for one in self.classifiers if one.summary]

    @property
    def frame(self) -> dict[str, Any]:
        """That of most tested runs on layers."""
        runs: dict[str, int] = {}
        for one in self.tested:
            if one.kind != "tfidf":
                key = json.dumps(one.frame)
                runs[key] = runs.get(key, 0) + len(one.setting.records)
        return json.loads(max(runs, key=lambda key: (runs[key], key))) if runs else {}

    @property
    def comparable(self) -> list[Classifier]:
        """Tested settings that share their frame; those of TF-IDF have none."""
        frame = self.frame
        return [one for one in self.tested if one.kind == "tfidf" or one.frame == frame]

    @property
    def few(self) -> list[Classifier]:
        """Trained with less than all labels."""
        return [one for line in [*self.lines.values(), self.alone] for one in line if one.share < 1]

    @staticmethod
    def best(classifiers: Sequence[Classifier]) -> Classifier | None:
        """On validation: the test split chooses nothing."""
        return max(classifiers, key=lambda one: one.mean("val/accuracy"), default=None)

    def of_mode(self, mode: str) -> Classifier | None:
        """The best comparable ELMo classifier of a lambda mode."""
        return self.best([c for c in self.comparable if c.is_elmo and c.choices["mixer"] == mode])

    def representations(self) -> list[Classifier]:
        """The best comparable of each kind: ELMo by one of the lambda modes, TF-IDF by both."""
        chosen = [self.best([m for mode in MODES if (m := self.of_mode(mode))])]
        chosen += [
            self.best([c for c in self.comparable if c.kind == kind])
            for kind in sorted({c.kind for c in self.comparable} - {"elmo", "tfidf"})
        ]
        tfidf = [c for c in self.comparable if c.kind == "tfidf"]
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


def value_of(record: dict[str, Any], figure: str) -> float:
    """Not a number where a record has none: JSON has null for infinity, too."""
    value = record["metrics"].get(figure)
    return float("nan") if value is None else value


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
    told = told_apart(found, [{**compared(r["settings"]), **r["choices"]} for r in records])
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
    return f"{name}, {mixer}{gamma}"


def _lines(
    full: Sequence[Classifier], few: Sequence[Classifier]
) -> tuple[dict[str, list[Classifier]], list[Classifier]]:
    """Settings at several shares of the labels, in the order of these; and what stands alone.

    At each share the best on validation, should there be several.
    """
    lines: dict[str, dict[float, list[Classifier]]] = {}
    for one in [*full, *few]:
        lines.setdefault(one.line, {}).setdefault(one.share, []).append(one)
    found = {}
    alone: list[Classifier] = []
    for shares in lines.values():
        best = [max(ones, key=lambda one: one.mean("val/accuracy")) for ones in shares.values()]
        if len(best) > 1:
            best.sort(key=lambda one: one.share)
            title = best[-1].title
            found[title] = [one._replace(title=title) for one in best]
        else:
            alone += [one for one in best if one.share < 1]
    return dict(sorted(found.items())), alone


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
