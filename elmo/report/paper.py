"""The order of the sections, the summary and the hand-written discussion."""

from __future__ import annotations

from pathlib import Path

from elmo.errors import DataError
from elmo.report import (
    appendix,
    bilms,
    effects,
    growth,
    inside,
    model,
    noise,
    probes,
    sections,
    settings,
    shift,
    studies,
    words,
)
from elmo.report.findings import (
    REPRESENTATIONS,
    gain_by_share,
    heaviest_layer,
    ranking,
    set_apart,
    single_layers,
)
from elmo.report.material import Material
from elmo.report.pairs import paired_tests
from elmo.report.training_recipes import training_recipes
from elmo.report.writing import Manuscript

BEFORE = (
    sections.data,
    model.architecture,
    settings.hyperparameters,
    sections.pretraining,
    sections.classification,
    sections.matrices,
    words.confused_words,
)
OF_EACH_RECIPE = (sections.comparison, studies.lambdas, studies.layers)
AFTER = (
    effects.hyperparameters,
    effects.tuning,
    bilms.several_bilms,
    bilms.fine_tuning,
    probes.what_each_layer_knows,
    studies.learning_curve,
    growth.how_accuracy_grows,
    shift.under_shift,
    inside.neighbours,
    inside.errors,
    noise.label_noise,
    appendix.cost,
)
MARK = "<!-- fingerprint: "


def write_report(
    material: Material, folder: str, discussion: Path | None = None, is_default: bool = True
) -> Manuscript:
    """Write the whole report.

    Args:
        folder: the folder of the figures, as the Markdown names it.
        discussion: Markdown whose first line names the fingerprint of its data, as in
            `<!-- fingerprint: 7de22bac6cbe6d15 -->`; left out where the data is different.
        is_default: the user did not name the discussion, so the report does not mention that it
            is left out.

    Raises:
        DataError: the discussion cannot be read, or does not name the fingerprint of its data.
    """
    paper = Manuscript(folder)
    paper.heading("ELMo from scratch: what pretraining, layers and lambdas are worth", level=1)
    _summary(material, paper)
    recipes = training_recipes(material)
    for part in BEFORE:
        part(material, paper)
    for part in OF_EACH_RECIPE:
        for number, recipe in enumerate(recipes, 1):
            paper.suffix = f", recipe {number}" if len(recipes) > 1 else ""
            part(recipe, paper)
    paper.suffix = ""
    for part in AFTER:
        part(material, paper)
    if discussion is not None:
        _include_discussion(material, paper, discussion, is_default)
    appendix.commands(material, paper)
    if paper.left_out:
        paper.heading("What is not in this report")
        paper.items([f"{section}: {reason}." for section, reason in paper.left_out])
    return paper


def _summary(material: Material, paper: Manuscript) -> None:
    facts = material.data
    paper.paragraph(
        f"Corpus `{facts['name']}`: {facts['train_rows']:,} train, {facts['validation_rows']:,} "
        f"validation and {facts['test_rows']:,} test rows. This report is made from the files of "
        "finished runs; every sentence that states a finding is computed from them. Only the "
        "discussion, where there is one, is written by hand.",
        "The biLMs are numbered in the order of their validation perplexity; a table at the end "
        "has their hashes."
        if material.bilms and material.has_several_bilms
        else "",
        "Settings on layers that name no recipe are of recipe 1, the best on validation; the "
        "section on hyperparameters has the recipes."
        if len(training_recipes(material)) > 1
        else "",
    )
    findings = []
    chosen = material.representations()
    if chosen:
        findings.append(ranking(chosen, REPRESENTATIONS))
        findings += set_apart(material, chosen)
        findings.append(paired_tests(material, chosen).against(0))
    for bilm in material.bilms[:1]:
        name = f"{bilm.name}, the best on validation," if len(material.bilms) > 1 else "The biLM"
        if bilm.is_tested:
            findings.append(
                f"{name} reaches a test perplexity of "
                f"{bilm.record['metrics']['test/perplexity']:.2f} at V = "
                f"{bilm.record['data']['vocabulary_size']:,} and "
                f"{bilm.record['data']['unknown_rate']['test']:.1%} unknown words."
            )
    recipes = training_recipes(material)
    for recipe in recipes[1:]:
        findings.append(ranking(recipe.representations(), REPRESENTATIONS))
    for recipe in recipes:
        if trainable := recipe.best_of_mode("trainable"):
            findings.append(heaviest_layer(trainable))
        single = [c for c in recipe.comparable if c.is_elmo and c.choices["mixer"] == "layer"]
        if len(single) > 1:
            findings.append(single_layers(single, recipe.best(recipe.best_of_modes())))
    curves = material.learning_curves
    others = [name for name, curve in curves.items() if not curve[0].is_elmo]
    for name in [name for name in curves if name not in others][:1]:
        findings.append(gain_by_share(curves, name, others))
    if kept := [sentence for sentence in findings if sentence]:
        paper.items(kept)


def _include_discussion(
    material: Material, paper: Manuscript, file: Path, is_default: bool
) -> None:
    try:
        first, _, text = file.read_text().partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not readable ({error}); name another --discussion") from error
    if not first.startswith(MARK):
        raise DataError(f"{file}, line 1: {first!r}; expected {MARK}FINGERPRINT -->")
    written_on = first.removeprefix(MARK).removesuffix(" -->").strip()
    if written_on in {material.data["fingerprint"], *material.aliases.values()}:
        paper.include(text)
    elif not is_default:
        paper.leave_out("Discussion", f"`{file.name}` was written on other data")
