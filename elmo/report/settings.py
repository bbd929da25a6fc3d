"""The section on hyperparameters: one column for each model, and what all of them share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from elmo.report.material import Classifier, Material
from elmo.report.training_recipes import training_recipes
from elmo.report.writing import Manuscript
from elmo.runs.keys import is_seed, relevant, without_seeds

BILM = "biLM"  # the row of the numbers of the biLMs
COLUMNS = 4  # models side by side
# Settings that say nothing of a model: all runs have their defaults, or a part reads them.
SILENT = {
    *("trainer.limit_train_batches", "trainer.limit_val_batches", "trainer.limit_test_batches"),
    *("trainer.devices", "optimizer.fused", "optimizer.betas", "datamodule.max_tokens"),
    *("bilm", "label_share", "mixer.trainable"),
}

Settings = dict[str, Any]


def hyperparameters(material: Material, paper: Manuscript) -> None:
    """Write the section on the settings of all models."""
    paper.heading("Hyperparameters of both tasks")
    layered = [c for c in material.classifiers if c.kind not in ("tfidf", "blend")]
    linear = [c for c in material.classifiers if c.kind == "tfidf"]
    jobs = {"the biLMs": _bilms(material)}
    recipes = training_recipes(material)
    if len(recipes) > 1:
        for number, recipe in enumerate(recipes, 1):
            own = recipe.alike
            jobs[f"recipe {number}"] = _classifiers(own, material)
            layered = [c for c in layered if c.title not in {other.title for other in own}]
        if layered:
            jobs["other classifiers on layers"] = _classifiers(layered, material)
    else:
        jobs["the classifiers on layers"] = _classifiers(layered, material)
    jobs["TF-IDF"] = _classifiers(linear, material)
    if len(recipes) > 1:
        _recipes(recipes, paper)
    for job, models in jobs.items():
        if models:
            _tables(job, models, paper)
        else:
            paper.leave_out(f"Hyperparameters of {job}", "the folders contain no such run")
    if not any(jobs.values()):
        paper.paragraph("The folders contain no run of either task.")


def _recipes(recipes: Sequence[Material], paper: Manuscript) -> None:
    """Write the table of what tells the recipes apart."""
    found = {}
    for number, recipe in enumerate(recipes, 1):
        reference = recipe.reference
        assert reference is not None  # a recipe has one
        frame = {k: _text(v) for k, v in reference.frame.items() if v is not None}
        found[f"recipe {number}"] = {
            key: value
            for key, value in frame.items()
            if key not in SILENT and not key.startswith("data")
        }
    keys = dict.fromkeys(key for frame in found.values() for key in frame)
    rows = [
        [f"`{key}`", *(frame.get(key, "") for frame in found.values())]
        for key in keys
        if len({frame.get(key) for frame in found.values()}) > 1
    ]
    paper.table(
        "Recipes of training: classifiers on layers are compared within one. What tells them "
        "apart, matrices and other settings of mixers aside; an empty cell was not recorded. A "
        "setting on layers that names no recipe is of recipe 1.",
        ["setting", *found],
        rows,
    )


def _bilms(material: Material) -> dict[str, Settings]:
    """Return the settings of the biLMs; those that differ in seeds and rounding are one column."""
    groups: list[tuple[list[str], Settings]] = []
    for bilm in material.bilms:
        settings = _plain(bilm.record)
        same = [g for g in groups if _without_rounding(g[1]) == _without_rounding(settings)]
        if same:
            same[0][0].append(bilm.name)
            _join(same[0][1], settings)
        else:
            groups.append(([bilm.name], settings))
    return {", ".join([n[0], *(name.split()[-1] for name in n[1:])]): s for n, s in groups}


def _without_rounding(settings: Settings) -> Settings:
    return {key: value for key, value in settings.items() if key != "trainer.precision"}


def _join(settings: Settings, more: Settings) -> None:
    for key, value in more.items():
        if value not in str(settings.get(key, "")).split(", "):
            settings[key] = f"{settings[key]}, {value}" if key in settings else value


def _classifiers(classifiers: Sequence[Classifier], material: Material) -> dict[str, Settings]:
    """Return the settings by title; a setting on several biLMs is one column."""
    found: dict[str, Settings] = {}
    for classifier in classifiers:
        settings = _plain(classifier.setting.records[0])
        bilm = material.bilm_names.get(classifier.plain.get("bilm", ""), "")
        title = re.sub(r", recipe \d+$", "", classifier.title_without_bilm)
        if title in found and bilm:
            _join(found[title], {BILM: bilm.split()[-1]})
        elif title not in found:
            found[title] = settings | ({BILM: bilm.split()[-1]} if " " in bilm else {})
    return found


def _plain(record: Mapping[str, Any]) -> Settings:
    """Return the settings that tell something of a model, as text."""
    settings = without_seeds(relevant(record["settings"]))
    kept = {k: v for k, v in settings.items() if k not in SILENT and not k.startswith("data.")}
    groups = {
        group: name
        for group, name in record["choices"].items()
        if group in ("embedding", "softmax", "head", "mixer", "optimizer")
    }
    return {key: _text(value) for key, value in (groups | kept).items() if not is_seed(key)}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _named(key: str) -> str:
    return key if key == BILM else f"`{key}`"


def _tables(job: str, models: Mapping[str, Settings], paper: Manuscript) -> None:
    """Write what the models share as a sentence, and what differs as tables of few columns."""
    keys = dict.fromkeys(key for settings in models.values() for key in settings)
    shared = [key for key in keys if len({settings.get(key) for settings in models.values()}) == 1]
    first = next(iter(models.values()))
    if shared and len(models) > 1:
        listed = "; ".join(f"`{key}` {first[key]}" for key in shared)
        paper.paragraph(f"All of {job} share: {listed}.")
    if len(models) == 1:
        rows = [[_named(key), first[key]] for key in keys]
        paper.table(f"Settings of {job}.", ["setting", next(iter(models))], rows)
        return
    differing = [key for key in keys if key not in shared]
    titles = list(models)
    width = -(-len(titles) // -(-len(titles) // COLUMNS))  # tables of about as many columns
    for start in range(0, len(titles), width):
        shown = titles[start : start + width]
        rows = [
            [_named(key), *(models[title].get(key, "") for title in shown)]
            for key in differing
            if any(key in models[title] for title in shown)
        ]
        more = ", continued" if start else ""
        paper.table(f"Settings of {job}{more}: what differs.", ["setting", *shown], rows)
