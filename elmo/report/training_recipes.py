"""Recipes of training: the groups of settings on layers that are compared with one another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from elmo.report.material import MODES, Classifier, Material
from elmo.runs.keys import NEUTRAL
from elmo.runs.labels import distinguish, label_of

COPIED = ("bilm", "mixer.trainable")  # what a title says in another way
FEWEST = 3  # settings of a recipe, besides that of the reference


def training_recipes(material: Material) -> list[Material]:
    """Return the material of each recipe, that of the best setting on validation first.

    A recipe is what `Material.comparable` shares: head, training and `study`. It has a lambda mode
    of ELMo and some more settings on layers. TF-IDF is in all of them, and so are static vectors
    that are in none; what is fine-tuned is in the first.
    """
    reference = material.reference
    if reference is None:
        return [material]
    groups: dict[str, list[Classifier]] = {_frame(reference): []}
    for classifier in material.tested:
        if classifier.kind not in ("tfidf", "blend") and not classifier.is_finetuned:
            groups.setdefault(_frame(classifier), []).append(classifier)
    first, *candidates = groups.values()
    others: list[list[Classifier]] = []
    rest: list[list[Classifier]] = []
    for group in candidates:
        has_mode = any(c.is_elmo and c.choices.get("mixer") in MODES for c in group)
        (others if has_mode and len(group) >= FEWEST else rest).append(group)
    if not others:
        return [material]
    everywhere = [c for c in material.classifiers if c.kind == "tfidf"]
    everywhere += [c for group in rest for c in group if c.is_static]
    tuned = material.fine_tuned
    found = [material._replace(classifiers=_ordered([*first, *everywhere, *tuned]))]
    return found + [
        material._replace(classifiers=_ordered([*group, *everywhere]), learning_curves={})
        for group in others
    ]


def with_short_titles(material: Material) -> Material:
    """Return material in which a setting is told apart within its recipe, and then by its recipe.

    Between recipes everything differs: a title that lists it all cannot be read. The first recipe
    is not named.
    """
    recipes = training_recipes(material)
    if len(recipes) < 2:
        return material
    titles: dict[str, str] = {}
    for number, recipe in enumerate(recipes, 1):
        for title, name in _told_apart(recipe.alike, material).items():
            titles[title] = name if number == 1 else f"{name}, recipe {number}"
    inside = [c for c in material.classifiers if c.title in titles]
    outside = [
        c for c in material.classifiers if c.kind not in ("tfidf", "blend") and c not in inside
    ]
    labels = {label_of(record) for record in _records(inside)}
    titles |= _told_apart([c for c in outside if label_of(_record(c)) not in labels], material)
    for classifier in outside:
        if label_of(_record(classifier)) in labels:
            short, full = _by_difference(classifier, inside)
            titles[classifier.title] = full if short in titles.values() else short
    renamed = [_titled(c, titles) for c in material.classifiers]
    curves = {}
    for name, curve in material.learning_curves.items():
        curves[titles.get(name, name)] = [_titled(c, titles) for c in curve]
    return material._replace(classifiers=renamed, learning_curves=curves)


def _told_apart(classifiers: Sequence[Classifier], material: Material) -> dict[str, str]:
    """Return for each title a shorter one, which tells the settings apart from one another."""
    names = {}
    for classifier, name in zip(classifiers, distinguish(_records(classifiers)), strict=True):
        for digest, bilm in material.bilm_names.items():
            name = name.replace(f"bilm={digest}", bilm)
        names[classifier.title] = name
    return names


def _by_difference(classifier: Classifier, others: Sequence[Classifier]) -> tuple[str, str]:
    """Return the label of a setting and how it differs from the most similar one of a recipe.

    Where its encoder differs, the first title says no more than that; the second says all.

    Args:
        others: settings of recipes, some with the same label.
    """
    label = label_of(_record(classifier))
    own = classifier.plain | classifier.choices
    changes = [
        [key for key in own if key not in NEUTRAL and own[key] != (c.plain | c.choices).get(key)]
        for c in others
        if c.kind == classifier.kind
    ]
    fewest = min(changes, key=len)
    values = [f"{key}={own[key]}" for key in fewest if key not in COPIED]
    of_encoder = [value for value in values if value.startswith("encoder.")]
    return f"{label}, {' '.join(of_encoder or values)}", f"{label}, {' '.join(values)}"


def _record(classifier: Classifier) -> dict[str, Any]:
    return classifier.setting.records[0]


def _records(classifiers: Sequence[Classifier]) -> list[dict[str, Any]]:
    return [_record(classifier) for classifier in classifiers]


def _titled(classifier: Classifier, titles: dict[str, str]) -> Classifier:
    return classifier._replace(title=titles.get(classifier.title, classifier.title))


def _frame(classifier: Classifier) -> str:
    return json.dumps(classifier.frame, sort_keys=True)


def _ordered(classifiers: Sequence[Classifier]) -> list[Classifier]:
    return sorted(classifiers, key=lambda c: (-c.mean("val/accuracy"), c.title))
