"""The settings that a report describes, and the rule that says which of them are comparable."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elmo.evaluation.bootstrap import Summary
from elmo.report.tuning import Search
from elmo.runs.finished import FinishedRun, Setting
from elmo.runs.keys import NEUTRAL, relevant, relevant_choices, without_seeds
from elmo.runs.labels import STATIC

MODES = ("trainable", "frozen", "learned")
# Settings that change with the share of the labels, see conf/labels.
SHARE_SETTINGS = ("label_share", "datamodule.token_budget", "trainer.max_epochs")


class Bilm(NamedTuple):
    """A biLM with the record of its run."""

    name: str  # "biLM 1"; "biLM" where there is no other
    digest: str | None  # the beginning of the hash of its file; None where it is not known
    run: FinishedRun

    @property
    def record(self) -> dict[str, Any]:
        """The record of its run."""
        return self.run.record

    @property
    def is_tested(self) -> bool:
        """Whether it was evaluated on the test split."""
        return "test/perplexity" in self.record["metrics"]


class Classifier(NamedTuple):
    """One setting of a classifier with the results of its runs."""

    title: str
    setting: Setting  # only its tested runs where there are any
    summary: Summary | None  # of the test split; None where no run was tested

    @property
    def choices(self) -> dict[str, str]:
        """The config groups, with the file that each took."""
        return self.setting.records[0]["choices"]

    @property
    def study(self) -> str | None:
        """The study that its runs belong to."""
        return self.setting.records[0].get("study")

    @property
    def share(self) -> float:
        """The share of the labels that it learned from."""
        return share_of_labels(self.setting.records[0])

    @property
    def is_elmo(self) -> bool:
        """Whether the text is represented by a biLM."""
        return self.choices.get("encoder") == "elmo"

    @property
    def is_static(self) -> bool:
        """Whether the text is represented by word vectors without context."""
        return self.kind in STATIC

    @property
    def is_finetuned(self) -> bool:
        """Whether its biLM was fine-tuned; such a setting belongs to no lambda mode."""
        return bool(self.setting.records[0]["settings"].get("encoder", {}).get("finetune"))

    @property
    def has_matrices(self) -> bool:
        """Whether a matrix for each layer stands before its lambda, which makes it redundant."""
        return bool(self.setting.records[0]["settings"].get("mixer", {}).get("projection_dim"))

    @property
    def kind(self) -> str:
        """The representation of the text: the name of an encoder, `tfidf` or `blend`."""
        return self.choices.get("encoder", "tfidf")

    @property
    def title_without_bilm(self) -> str:
        """Its title without the name of its biLM."""
        return re.sub(r",? biLMs? [\w+]+", "", self.title)

    @property
    def on_what(self) -> str:
        """What several of its siblings are trained on."""
        return "biLMs" if self.kind == "elmo" else "sets of biLMs"

    @property
    def lambdas(self) -> np.ndarray:
        """The lambdas of each run on the validation rows, (seeds, L)."""
        return np.array([record["lambdas"] for record in self.setting.records])

    @property
    def curve(self) -> str:
        """The key of its learning curve: equal for settings that differ in their labels only."""
        plain = self.plain
        choices = {k: v for k, v in relevant_choices(self.choices).items() if k != "labels"}
        rest = {key: plain[key] for key in plain if key not in SHARE_SETTINGS}
        return json.dumps([choices, rest], sort_keys=True)

    @property
    def frame(self) -> dict[str, Any]:
        """The settings that mixers and encoders must share to be compared: head, epochs, study."""
        settings = {**self.plain, **self.choices}
        frame = {
            key: value
            for key, value in sorted(settings.items())
            if key not in (*NEUTRAL, "mixer", "encoder", "bilm", "labels")
            and not key.startswith(("mixer.", "encoder."))
        }
        return {**frame, "study": self.study}

    @property
    def plain(self) -> dict[str, Any]:
        """Its settings with dotted keys, without the seeds."""
        return without_seeds(relevant(self.setting.records[0]["settings"]))

    def values(self, metric: str) -> np.ndarray:
        """Return a metric of each run (seeds,); NaN where a run has none."""
        return np.array([metric_value(record, metric) for record in self.setting.records])

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the runs."""
        return float(self.values(metric).mean())

    def by_seed(self, metric: str) -> dict[int, float]:
        """Return a metric by seed, of the runs that have it."""
        seeds = [record["settings"]["seed"] for record in self.setting.records]
        pairs = zip(seeds, self.values(metric).tolist(), strict=True)
        return {seed: value for seed, value in pairs if not np.isnan(value)}

    def deviation(self, metric: str) -> float:
        """Return the sample standard deviation of a metric over the runs; NaN for one run."""
        values = self.values(metric)
        return float(values.std(ddof=1)) if len(values) > 1 else float("nan")

    def confusion(self, split: str) -> np.ndarray:
        """Return the confusion matrix (C true, C predicted), summed over the seeds."""
        return np.sum([r["splits"][split]["confusion"] for r in self.setting.records], axis=0)


class Variant(NamedTuple):
    """Other splits of the rows of a corpus, and the settings that were trained on them."""

    name: str
    data: dict[str, Any]  # facts of the corpus with these splits
    classifiers: list[Classifier]


class Material(NamedTuple):
    """Everything that a report describes."""

    data: dict[str, Any]  # facts of the corpus
    bilms: list[Bilm]  # the best on validation first
    bilm_names: dict[str, str]  # by digest: also of those whose run is not among the folders
    classifiers: list[Classifier]  # trained on all labels, the best on validation first
    learning_curves: dict[str, list[Classifier]]  # one setting at several shares of the labels
    neighbours: list[dict[str, Any]]
    single_shares: list[Classifier]  # trained on few labels, and at no other share
    versions: dict[str, str]
    variants: list[Variant]  # other splits of the same corpus, by name
    recipes: dict[str, str]  # of the biLMs by digest: those of one recipe differ by chance
    aliases: dict[str, str]  # other names of the same rows, with their fingerprints
    scaling: list[FinishedRun]  # of `study=scaling`, which stand in no other section
    probes: list[dict[str, Any]]  # files of `elmo probe`
    searches: list[Search]  # tables of `elmo tune`
    noise: list[dict[str, Any]]  # files of `elmo noise` on this corpus

    @property
    def has_several_bilms(self) -> bool:
        """Whether biLMs have names of their own."""
        return len({*(bilm.name for bilm in self.bilms), *self.bilm_names.values()}) > 1

    @property
    def tested(self) -> list[Classifier]:
        """The classifiers that were evaluated on the whole test split."""
        return [classifier for classifier in self.classifiers if classifier.summary]

    @property
    def reference(self) -> Classifier | None:
        """The tested lambda mode of ELMo that is best on validation, or else the best on layers.

        Modes that share their frame with another encoder come first. None where no setting on
        layers was tested. Fine-tuned settings are no candidates.
        """
        layers = [c for c in self.tested if c.kind not in ("tfidf", "blend") and not c.is_finetuned]
        modes = [c for c in layers if c.is_elmo and c.choices.get("mixer") in MODES]
        others = [c.frame for c in layers if not c.is_elmo]
        return self.best([c for c in modes if c.frame in others] or modes or layers)

    @property
    def comparable(self) -> list[Classifier]:
        """The tested settings that share the frame of the reference, and the baselines.

        Static vectors of the same study may have a head of their own, as TF-IDF has. Fine-tuned
        settings are not among them.
        """
        reference = self.reference
        frame = reference.frame if reference else {"study": None}
        return [
            c
            for c in self.tested
            if c.kind == "tfidf"
            or (c.is_static and c.study == frame["study"])
            or (c.frame == frame and not c.is_finetuned)
        ]

    @property
    def alike(self) -> list[Classifier]:
        """The comparable settings that share the frame of the reference."""
        reference = self.reference
        return [c for c in self.comparable if reference and c.frame == reference.frame]

    @property
    def fine_tuned(self) -> list[Classifier]:
        """The tested settings whose biLM was fine-tuned, the best on validation first."""
        return [c for c in self.tested if c.is_elmo and c.is_finetuned]

    @property
    def few_labels(self) -> list[Classifier]:
        """The settings that were trained on less than all labels."""
        curves = [*self.learning_curves.values(), self.single_shares]
        return [classifier for curve in curves for classifier in curve if classifier.share < 1]

    def on_all_bilms(self, classifier: Classifier) -> list[Classifier]:
        """Return the tested settings that differ from one in the biLM alone, itself included.

        Only biLMs of one recipe count.
        """

        def key(other: Classifier) -> str:
            digest = other.plain.get("bilm", "")
            plain = other.plain | {"bilm": self.recipes.get(digest, digest)}
            names = [other.study, other.title_without_bilm]
            return json.dumps([relevant_choices(other.choices), plain, names], sort_keys=True)

        return [other for other in self.tested if key(other) == key(classifier)] or [classifier]

    @staticmethod
    def best(classifiers: Sequence[Classifier]) -> Classifier | None:
        """Return the best classifier on validation: the test split chooses nothing."""
        return max(classifiers, key=lambda c: c.mean("val/accuracy"), default=None)

    def best_of_mode(self, mode: str) -> Classifier | None:
        """Return the best comparable ELMo classifier of a lambda mode."""
        return self.best([c for c in self.comparable if c.is_elmo and c.choices["mixer"] == mode])

    def best_of_modes(self) -> list[Classifier]:
        """Return the best comparable ELMo classifier of each lambda mode that there is."""
        return [best for mode in MODES if (best := self.best_of_mode(mode))]

    def representations(self) -> list[Classifier]:
        """Return the best comparable classifier of each representation.

        ELMo is represented by its best lambda mode, TF-IDF by each of its linear classifiers.
        """
        comparable = self.comparable
        chosen = [self.best(self.best_of_modes())]
        chosen += [
            self.best([c for c in comparable if c.kind == kind])
            for kind in sorted({c.kind for c in comparable} - {"elmo", "tfidf"})
        ]
        tfidf = [c for c in comparable if c.kind == "tfidf"]
        for name in sorted({c.choices["classifier"] for c in tfidf}):
            chosen.append(self.best([c for c in tfidf if c.choices["classifier"] == name]))
        return [classifier for classifier in chosen if classifier]


def share_of_labels(record: dict[str, Any]) -> float:
    """Return the share of the labels that a run learned from."""
    return record["settings"].get("label_share", 1.0)


def metric_value(record: dict[str, Any], metric: str) -> float:
    """Return a metric of a record; NaN where it has none, or null, which stands for infinity."""
    value = record["metrics"].get(metric)
    return float("nan") if value is None else value
