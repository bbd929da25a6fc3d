"""The section on other splits of the corpus: agencies that are held out, validation in blocks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elmo.evaluation.significance import Interval, compare, holm, paired_interval
from elmo.report import figures
from elmo.report.findings import percent, points
from elmo.report.material import Classifier, Material, Variant
from elmo.report.pairs import p_value
from elmo.report.writing import Manuscript, number, with_deviation
from elmo.runs.finished import Outcome
from elmo.runs.labels import ENCODERS

SPLITS = ("validation", "test")


class Shown(NamedTuple):
    """A split of the corpus, with the setting that shows each representation on it."""

    variant: Variant
    settings: list[Classifier]  # the best on validation; ELMo first

    @property
    def elmo_and_tfidf(self) -> tuple[Classifier, Classifier] | None:
        """The two that are compared; None where one is missing."""
        found = {c.kind: c for c in self.settings}
        return (found["elmo"], found["tfidf"]) if {"elmo", "tfidf"} <= found.keys() else None


class Lead(NamedTuple):
    """How far ELMo is ahead of TF-IDF on the rows of one split."""

    variant: str
    split: str  # "test file alone": without the rows of the agency that are in the train file
    rows: int
    interval: Interval
    only_elmo: int  # rows that only ELMo has right, with the probabilities of the seeds averaged
    only_tfidf: int
    p: float  # McNemar, corrected for all leads


def under_shift(material: Material, paper: Manuscript) -> None:
    """Write the section on the splits of the corpus that are not its default ones."""
    found = [Shown(v, _representatives(v)) for v in [_default(material), *material.variants]]
    shown = [one for one in found if one.settings]
    if not any(one.variant.data.get("variant") for one in shown):
        paper.leave_out(
            "Under shift",
            "there are no tested runs with `data.hold_out` or `data.validation_blocks`, such as "
            "those of `train_cls.py experiment=shift`",
        )
        return
    leads = _leads(shown, material.data["test_rows_in_source"])
    controls = [row for one in shown for row in _controls(one, found)]
    paper.heading("Under shift")
    paper.paragraph(
        "Other splits of the same corpus. Where an agency is held out, the test split is all its "
        "rows, of both files, and no other split has one of them. Validation rows in blocks are "
        "consecutive rows of the source, not single ones. Each representation is shown by the "
        "setting that is best on the validation rows of the split.",
        *(_finding(one, leads) for one in shown),
        *{_what_was_read(one): None for one in shown},
    )
    names = list(shown[0].settings[0].setting.records[0]["splits"]["test"]["per_class"])
    paper.table(
        "The splits: their rows, and the share of each class in test.",
        ["split", "train", "validation", "test", *names],
        [_split_row(one) for one in shown],
    )
    paper.table(
        "Accuracy. At the shares of test: what the recall of each class on validation comes to at "
        "the class shares of test. The interval is over the test rows.",
        ["split", "setting", "seeds", "validation", "at shares of test", "test", "95 % interval"],
        [row for one in shown for row in _accuracy_rows(one)],
    )
    if leads:
        paper.table(
            "The lead of ELMo over TF-IDF in points, with its 95 % interval (bootstrap over the "
            "rows); the rows that only one has right, and McNemar's exact test, corrected for "
            f"{len(leads)} tests.",
            ["split", "on", "rows", "lead", "95 % interval", "right: only one / other", "p"],
            [_lead_row(lead) for lead in leads],
        )
    if controls:
        paper.table(
            "The same rows, those of the test file that are of the agency: accuracy of the same "
            "setting trained with other rows of the agency, and without any.",
            ["split", "rows", "setting", "with", "without", "gain in points", "95 % interval"],
            controls,
        )
    paper.figure(
        "shift",
        "Accuracy by split: on test (filled, with its 95 % interval) and on validation (hollow).",
        figures.shifts({one.variant.name: _drawn(one.settings) for one in shown}),
    )


def _default(material: Material) -> Variant:
    return Variant("default", material.data, material.classifiers)


def _representatives(variant: Variant) -> list[Classifier]:
    """Return the best tested setting of each representation on validation; ELMo comes first."""
    tested = [c for c in variant.classifiers if c.summary and not c.is_finetuned]
    kinds = sorted({c.kind for c in tested}, key=lambda kind: (kind != "elmo", kind))
    best = (Material.best([c for c in tested if c.kind == kind]) for kind in kinds)
    return [classifier for classifier in best if classifier]


def _split_row(one: Shown) -> list[str]:
    rows = [f"{one.variant.data[f'{split}_rows']:,}" for split in ("train", *SPLITS)]
    counts = one.settings[0].confusion("test").sum(1)
    return [one.variant.name, *rows, *(percent(share) for share in counts / counts.sum())]


def _accuracy_rows(one: Shown) -> list[list[str]]:
    return [
        [
            "" if index else one.variant.name,
            c.title,
            str(len(c.setting.records)),
            with_deviation(c.mean("val/accuracy"), c.deviation("val/accuracy")),
            number(at_shares_of_test(*(c.confusion(split) for split in SPLITS))),
            with_deviation(c.summary.mean, c.summary.deviation),
            f"{number(c.summary.low)} to {number(c.summary.high)}",
        ]
        for index, c in enumerate(one.settings)
        if c.summary
    ]


def at_shares_of_test(validation: np.ndarray, test: np.ndarray) -> float:
    """Return the accuracy on test if every class were recalled as on validation.

    Args:
        validation: confusion matrix (C true, C predicted).
        test: the same of test.
    """
    recall = np.diag(validation) / np.maximum(1, validation.sum(1))
    return float((recall * test.sum(1)).sum() / test.sum())


def _leads(shown: Sequence[Shown], last: int) -> list[Lead]:
    """Return the lead on each split of which both settings kept their predictions.

    Of an agency that is held out, the rows of the test file alone follow, which are numbered below
    `last`: no biLM of the default splits has read them.
    """
    leads = []
    for one in shown:
        pair = one.elmo_and_tfidf or ()
        for split in SPLITS:
            if pair and all(c.setting.keeps(split) for c in pair):
                outcomes = [c.setting.outcomes(split) for c in pair]
                leads.append(_lead(one.variant.name, split, *outcomes))
                if split == "test" and _is_held_out(one):
                    outcomes = [[_on_rows(o, o.rows[o.rows < last]) for o in os] for os in outcomes]
                    if len(outcomes[0][0].rows):
                        leads.append(_lead(one.variant.name, "test file alone", *outcomes))
    adjusted = holm([lead.p for lead in leads])
    return [lead._replace(p=p) for lead, p in zip(leads, adjusted, strict=True)]


def _lead(name: str, split: str, elmo: Sequence[Outcome], tfidf: Sequence[Outcome]) -> Lead:
    (test,) = compare([elmo, tfidf])
    interval = paired_interval(elmo, tfidf)
    rows = len(elmo[0].rows)
    return Lead(name, split, rows, interval, test.only_one, test.only_other, test.p)


def _lead_row(lead: Lead) -> list[str]:
    return [
        lead.variant,
        lead.split,
        f"{lead.rows:,}",
        f"{100 * lead.interval.mean:+.2f}",
        _in_points(lead.interval),
        f"{lead.only_elmo} / {lead.only_tfidf}",
        p_value(lead.p),
    ]


def _in_points(interval: Interval) -> str:
    return f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}"


def _finding(one: Shown, leads: Sequence[Lead]) -> str:
    """Say how far ELMo is ahead on the splits of a variant, with the interval."""
    own = [lead for lead in leads if lead.variant == one.variant.name]
    if not own or one.elmo_and_tfidf is None:
        return ""
    elmo, tfidf = one.elmo_and_tfidf
    parts = []
    for lead in own:
        word = "ahead" if lead.interval.mean >= 0 else "behind"
        parts.append(
            f"{points(lead.interval.mean)} {word} on {lead.split} (95 % interval "
            f"{_in_points(lead.interval)})"
        )
    return f"Split `{one.variant.name}`, {elmo.title} against {tfidf.title}: {', '.join(parts)}."


def _what_was_read(one: Shown) -> str:
    """Say what the biLM of ELMo has read of the rows that it is evaluated on."""
    counts = [c.setting.records[0].get("bilm_has_read") for c in one.settings if c.is_elmo]
    if not counts or not counts[0]:
        return ""
    read = " and ".join(
        f"{count:,} of the {one.variant.data[f'{split}_rows']:,} {split} texts"
        for split, count in counts[0].items()
    )
    return f"Split `{one.variant.name}`: the biLM has read {read}, without their classes."


def _controls(one: Shown, others: Sequence[Shown]) -> list[list[str]]:
    """Return a row for each setting that was also trained with rows of the held-out agency."""
    rows = []
    for other in others:
        if not _is_held_out(one) or _splitting(one) != _splitting(other) or _is_held_out(other):
            continue
        for classifier in one.settings:
            same = [
                c
                for c in other.variant.classifiers
                if c.summary and _recipe(c) == _recipe(classifier)
            ]
            if same:
                # Those of the test file: other splits have no train rows of it in test.
                pair = (same[0].setting.outcomes(), classifier.setting.outcomes())
                with_rows, without = _on_common_rows(*pair)
                gain = paired_interval(with_rows, without)
                accuracies = (_accuracy(outcomes) for outcomes in (with_rows, without))
                rows.append(
                    [
                        one.variant.name,
                        f"{len(without[0].rows):,}",
                        classifier.title,
                        *map(number, accuracies),
                        f"{100 * gain.mean:+.2f}",
                        _in_points(gain),
                    ]
                )
    return rows


def _is_held_out(one: Shown) -> bool:
    return _data_settings(one).get("hold_out") is not None


def _splitting(one: Shown) -> dict[str, Any]:
    """Return the settings of the splits, but for the agency that is held out."""
    settings = _data_settings(one)
    return {key: settings.get(key) for key in ("validation_blocks", "strip_source")}


def _data_settings(one: Shown) -> dict[str, Any]:
    classifiers = one.variant.classifiers
    return classifiers[0].setting.records[0]["settings"].get("data", {}) if classifiers else {}


def _recipe(classifier: Classifier) -> str:
    """Return what tells settings apart but for the splits that they were trained on."""
    plain = {k: v for k, v in classifier.plain.items() if not k.startswith("data.")}
    choices = {k: v for k, v in classifier.choices.items() if k not in ("data", "experiment")}
    return json.dumps([choices, plain], sort_keys=True)


def _on_common_rows(
    some: Sequence[Outcome], others: Sequence[Outcome]
) -> tuple[list[Outcome], list[Outcome]]:
    """Return the outcomes on the rows that both have."""
    common = np.intersect1d(some[0].rows, others[0].rows)
    return [_on_rows(o, common) for o in some], [_on_rows(o, common) for o in others]


def _on_rows(outcome: Outcome, rows: np.ndarray) -> Outcome:
    order = np.argsort(outcome.rows)
    places = order[np.searchsorted(outcome.rows, rows, sorter=order)]
    return outcome._replace(
        rows=rows, labels=outcome.labels[places], probabilities=outcome.probabilities[places]
    )


def _accuracy(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([outcome.correct for outcome in outcomes]))


def _drawn(settings: Sequence[Classifier]) -> dict[str, tuple[float, float, float, float]]:
    """Return validation accuracy, test accuracy and its interval of each setting."""
    return {
        ENCODERS.get(c.kind, "TF-IDF"): (
            c.mean("val/accuracy"),
            c.summary.mean,
            c.summary.low,
            c.summary.high,
        )
        for c in settings
        if c.summary
    }
