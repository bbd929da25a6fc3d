"""The section on the effect of hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from elmo.report.findings import points
from elmo.report.material import Classifier, Material, metric_value
from elmo.report.tuning import effect_of_tuning
from elmo.report.writing import Manuscript, number
from elmo.runs.keys import relevant, relevant_choices, without_seeds

FEW = 2  # changes at a time whose effect is shown
SEARCH = 4  # settings of a search whose values are compared
# What sections of their own compare: settings that differ in these are no pair here.
ELSEWHERE = {"encoder", "mixer", "mixer.layer", "bilm", "classifier"}
SAME = ("data", "labels")  # equal for all settings, whatever they are called

# Groups that a config leaves out where they are null, and older runs did not know.
OPTIONAL = ("teacher", "label_weights", "augmentation")

Settings = dict[str, Any]


class Effect(NamedTuple):
    """Two settings that differ in a few hyperparameters."""

    changes: dict[str, tuple[Any, Any]]  # by key, the two values
    places: tuple[int, int]  # of the settings


def hyperparameters(material: Material, paper: Manuscript) -> None:
    """Write the section on settings that differ in few hyperparameters."""
    classifiers = material.classifiers
    bilms = _by_settings(material)
    of_classifiers = _effects([_settings(c.setting.records[0]) for c in classifiers])
    of_bilms = _effects([settings for settings, _ in bilms])
    searched = [c for c in classifiers if not c.summary]
    values = _by_value(
        [_settings(c.setting.records[0]) for c in searched],
        [c.mean("val/accuracy") for c in searched],
    )
    if not (of_classifiers or of_bilms or values):
        paper.leave_out(
            "The effect of hyperparameters",
            f"no two settings differ in {FEW} hyperparameters or fewer, mixer and encoder apart, "
            f"and there is no search of {SEARCH} settings or more",
        )
        return
    paper.heading("The effect of hyperparameters")
    paper.paragraph(
        "Each row is a pair of settings that differ in what the row names, and else in seeds and "
        "in what only one of the two reads. Mixers, layers, biLMs and encoders have sections of "
        "their own.",
        _largest(classifiers, of_classifiers),
    )
    if of_classifiers:
        paper.table(
            "Classifiers: what changes with a hyperparameter; accuracies are means over seeds, "
            "gains in points.",
            ["change", "with", "validation acc.", "gain", "test acc.", "gain"],
            [_classifier_row(effect, classifiers) for effect in of_classifiers],
        )
    if of_bilms:
        paper.table(
            "Language models: what changes with a hyperparameter; means over runs, whose seeds "
            "differ as well.",
            ["change", "runs", "validation perplexity", "test perplexity"],
            [_bilm_row(effect, [records for _, records in bilms]) for effect in of_bilms],
        )
    if values:
        paper.table(
            f"A search: {len(searched)} settings without test figures, by the value of each "
            "hyperparameter. The others vary as well, so a mean says little where settings are "
            "few.",
            ["hyperparameter", "value", "settings", "mean validation acc.", "best"],
            values,
        )


def tuning(material: Material, paper: Manuscript) -> None:
    """Write the section on searches of hyperparameters."""
    effect_of_tuning(material.searches, paper)


def _settings(record: Mapping[str, Any]) -> Settings:
    """Return settings and choices with dotted keys, those that are null included."""
    plain = without_seeds(relevant(_filled(record["settings"])))
    together = {
        **dict.fromkeys(OPTIONAL, "none"),
        **plain,
        **relevant_choices(record["choices"]),
    }
    return {key: value for key, value in together.items() if key.partition(".")[0] not in SAME}


def _filled(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _filled(value) if isinstance(value, Mapping) else "none" if value is None else value
        for key, value in settings.items()
    }


def _by_settings(material: Material) -> list[tuple[Settings, list[dict[str, Any]]]]:
    """Return the settings of the biLMs, each with the records of its runs."""
    groups: dict[str, tuple[Settings, list[dict[str, Any]]]] = {}
    for bilm in material.bilms:
        settings = _settings(bilm.record)
        key = str(sorted(settings.items()))
        groups.setdefault(key, (settings, []))[1].append(bilm.record)
    return list(groups.values())


def _changes(one: Settings, other: Settings) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two settings, among the keys that both have.

    A key that only one has belongs to a part that the other does not use, or was introduced after
    the run of the other.
    """
    shared = sorted(one.keys() & other.keys())
    return {key: (one[key], other[key]) for key in shared if one[key] != other[key]}


def _effects(settings: Sequence[Settings]) -> list[Effect]:
    """Return the pairs that differ in one hyperparameter, and in few where one has no such pair."""
    found = []
    for places in combinations(range(len(settings)), 2):
        changes = _changes(*(settings[place] for place in places))
        if 1 <= len(changes) <= FEW and not ELSEWHERE & changes.keys():
            first, second = next(iter(changes.values()))
            if _order(first) > _order(second):  # from the smaller value to the larger one
                places = places[::-1]
                changes = {key: values[::-1] for key, values in changes.items()}
            found.append(Effect(changes, places))
    paired = {place for effect in found if len(effect.changes) == 1 for place in effect.places}
    kept = [effect for effect in found if len(effect.changes) == 1 or {*effect.places} - paired]
    return sorted(kept, key=lambda effect: (list(effect.changes), effect.places))


def _order(value: Any) -> tuple[bool, float, str]:
    """Return a key by which numbers are ordered as such, before text."""
    if isinstance(value, (bool, int, float)):
        return False, float(value), ""
    return True, 0.0, str(value)


def _named(effect: Effect) -> str:
    return ", ".join(f"`{key}` {one} to {other}" for key, (one, other) in effect.changes.items())


def _classifier_row(effect: Effect, classifiers: Sequence[Classifier]) -> list[str]:
    one, other = (classifiers[place] for place in effect.places)
    row = [_named(effect), one.title]
    for split in ("val", "test"):
        before, after = (c.mean(f"{split}/accuracy") for c in (one, other))
        missing = np.isnan(before + after)
        row.append("" if missing else f"{number(before)} to {number(after)}")
        row.append("" if missing else f"{100 * (after - before):+.2f}")
    return row


def _bilm_row(effect: Effect, groups: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    one, other = (groups[place] for place in effect.places)
    row = [_named(effect), f"{len(one)}, {len(other)}"]
    for split in ("val", "test"):
        before, after = (
            float(np.mean([metric_value(record, f"{split}/perplexity") for record in group]))
            for group in (one, other)
        )
        missing = np.isnan(before + after)
        row.append("" if missing else f"{number(before, 2)} to {number(after, 2)}")
    return row


def _largest(classifiers: Sequence[Classifier], effects: Sequence[Effect]) -> str:
    """Say which effect is the largest on validation, and how far seeds alone move the accuracy."""

    def gain(effect: Effect) -> float:
        before, after = (classifiers[place].mean("val/accuracy") for place in effect.places)
        return after - before

    if not effects:
        return ""
    largest = max(effects, key=lambda effect: abs(gain(effect)))
    one, other = (classifiers[place] for place in largest.places)
    spread = np.array([c.deviation("val/accuracy") for c in (one, other)])
    word = "gains" if gain(largest) >= 0 else "loses"
    return (
        f"The largest effect on validation: {_named(largest)}, with {one.title}, {word} "
        f"{points(gain(largest))}"
        + (
            "."
            if np.isnan(spread).any()
            else f"; the deviations over seeds are {points(spread[0])} and {points(spread[1])}."
        )
    )


def _by_value(settings: Sequence[Settings], accuracies: Sequence[float]) -> list[list[str]]:
    """Return a row for each value of each hyperparameter that varies in a search."""
    if len(settings) < SEARCH:
        return []
    rows = []
    for key in sorted({key for one in settings for key in one} - {"bilm"}):
        groups: dict[Any, list[float]] = {}
        for one, accuracy in zip(settings, accuracies, strict=True):
            if key in one:
                groups.setdefault(one[key], []).append(accuracy)
        if len(groups) > 1:
            for index, value in enumerate(sorted(groups, key=_order)):
                found = groups[value]
                row = ["" if index else f"`{key}`", str(value), str(len(found))]
                rows.append([*row, number(float(np.mean(found))), number(max(found))])
    return rows
