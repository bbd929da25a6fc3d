"""The settings of a report's runs, and which of them compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elmo.evaluation.significance import Comparison, Summary, compare
from elmo.runs.finished import FinishedRun, Setting
from elmo.runs.keys import NEUTRAL, relevant, relevant_choices, without_seeds

MODES = ("trainable", "frozen", "learned")
# What goes with the number of labels, see conf/labels.
OF_THE_SHARE = ("label_share", "datamodule.token_budget", "trainer.max_epochs")


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
        return share_of_labels(self.setting.records[0])

    @property
    def is_elmo(self) -> bool:
        return self.choices.get("encoder") == "elmo"

    @property
    def is_finetuned(self) -> bool:
        """Whether its biLM was trained on with it, which is no frozen mode."""
        return bool(self.setting.records[0]["settings"].get("encoder", {}).get("finetune"))

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
        choices = {k: v for k, v in relevant_choices(self.choices).items() if k != "labels"}
        rest = {key: plain[key] for key in plain if key not in OF_THE_SHARE}
        return json.dumps([choices, rest], sort_keys=True)

    @property
    def frame(self) -> dict[str, Any]:
        """What a comparison of mixers and encoders holds still: head, optimizer, epochs, ..."""
        told = {**self.plain, **self.choices}
        return {
            key: value
            for key, value in sorted(told.items())
            if key not in (*NEUTRAL, "mixer", "encoder", "bilm", "labels")
            and not key.startswith(("mixer.", "encoder."))
        }

    @property
    def plain(self) -> dict[str, Any]:
        """Its settings with dotted keys, but for the seeds."""
        return without_seeds(relevant(self.setting.records[0]["settings"]))

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
        """That of the tested lambda mode that is best on validation, or else of any setting."""
        layers = [one for one in self.tested if one.kind != "tfidf" and not one.is_finetuned]
        modes = [one for one in layers if one.choices.get("mixer") in MODES and one.is_elmo]
        best = self.best(modes or layers)
        return best.frame if best else {}

    @property
    def comparable(self) -> list[Classifier]:
        """Tested settings that share their frame; those of TF-IDF have none.

        What is fine-tuned stands apart.
        """
        frame = self.frame
        return [
            one
            for one in self.tested
            if one.kind == "tfidf" or (one.frame == frame and not one.is_finetuned)
        ]

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


def share_of_labels(record: dict[str, Any]) -> float:
    """Return the share of the labels that a run learned from."""
    return record["settings"].get("label_share", 1.0)


def paired(classifiers: Sequence[Classifier], first: bool = False) -> list[Comparison]:
    """Paired tests of classifiers that were tested: of every pair, or of the first with each."""
    pairs = ((0, other) for other in range(1, len(classifiers))) if first else None
    return compare([one.setting.outcomes() for one in classifiers], pairs)


def value_of(record: dict[str, Any], figure: str) -> float:
    """Not a number where a record has none: JSON has null for infinity, too."""
    value = record["metrics"].get(figure)
    return float("nan") if value is None else value
