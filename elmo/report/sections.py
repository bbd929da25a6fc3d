"""The sections on data, hyperparameters, pretraining and the comparison of all classifiers."""

from __future__ import annotations

from typing import Any

from elmo.evaluation.language_model_scores import DIRECTIONS
from elmo.report import figures
from elmo.report.collect import read_curves
from elmo.report.figures import class_shares
from elmo.report.findings import REPRESENTATIONS, ranking, set_apart
from elmo.report.material import MODES, Classifier, Material, metric_value
from elmo.report.pairs import HEADER, METHOD, paired_tests
from elmo.report.training_recipes import training_recipes
from elmo.report.writing import Manuscript, number, with_deviation

MOST_CURVES = 6  # biLMs whose curves are drawn
SPLITS = {"train": "train", "val": "validation", "test": "test"}


def data(material: Material, paper: Manuscript) -> None:
    """Write the section on the corpus."""
    facts = material.data
    paper.heading("Data")
    tokenized = [bilm.record["data"] for bilm in material.bilms] or [
        record["data"]
        for classifier in material.classifiers
        for record in classifier.setting.records
        if "vocabulary_size" in record["data"]
    ]
    rows = [
        ["rows of the source, train and test", _counts(facts, "train", "test", "rows_in_source")],
        ["train rows dropped because the test split contains them", _count(facts, "also_in_test")],
        ["descriptions that occur more than once", _count(facts, "repeated_descriptions")],
        ["of these, with different labels", _count(facts, "conflicting_labels")],
        ["rows of train, validation, test", _counts(facts, *SPLITS.values(), "rows")],
    ]
    if tokenized:
        unknown = tokenized[0]["unknown_rate"]
        rows += [
            ["vocabulary V", f"{tokenized[0]['vocabulary_size']:,}"],
            [
                "unknown words of train, validation, test",
                " / ".join(f"{unknown[split]:.2%}" for split in SPLITS.values()),
            ],
        ]
    paper.paragraph(
        f"All figures are of the corpus `{facts['name']}` (fingerprint `{facts['fingerprint']}`). "
        + "".join(
            f"Runs on `{name}` (fingerprint `{digest}`) are of the same rows: all counts and the "
            "vocabulary agree. "
            for name, digest in material.aliases.items()
        )
        + _use_of_the_test_split(material)
    )
    paper.table("The corpus.", ["fact", "rows or words"], rows)


def _use_of_the_test_split(material: Material) -> str:
    """Say what chooses, and how many runs were evaluated on the test split."""
    variants = [c for variant in material.variants for c in variant.classifiers]
    settings = [c.setting for c in [*material.classifiers, *material.few_labels, *variants]]
    records = [record for setting in settings for record in setting.records]
    records += [bilm.record for bilm in material.bilms]
    tested = sum(any(name.startswith("test/") for name in r["metrics"]) for r in records)
    return (
        "Choices are made on the validation split. The test split chooses nothing, but it is read "
        f"often: the {tested} runs of this report that have test figures were evaluated on it when "
        "they had ended."
    )


def _count(facts: dict[str, Any], ending: str) -> str:
    return ", ".join(f"{value:,}" for key, value in facts.items() if key.endswith(ending))


def _counts(facts: dict[str, Any], *names: str) -> str:
    *splits, ending = names
    return " / ".join(f"{facts[f'{split}_{ending}']:,}" for split in splits)


def pretraining(material: Material, paper: Manuscript) -> None:
    """Write the section on the language models."""
    if not material.bilms:
        paper.leave_out("Pretraining", "the folders contain no finished run of `train_lm.py`")
        return
    paper.heading("Pretraining: the language model on train and test")
    paper.paragraph(
        "The forward model predicts the next word and the sentence end, the backward model the "
        "previous word and the sentence start. Perplexity is exp(sum of negative "
        "log-likelihoods / number of targets); `<unk>` counts as a word, padding does not count. "
        "It depends on V and on the unknown rate. Train is a seeded sample of rows, with dropout "
        "off. Precision, recall and F1 are means over the words that occur as targets, most of "
        "which are rare."
    )
    header = ["", "split", "V", "unknown", *DIRECTIONS]
    header += ["top-1", "top-5", "precision", "recall", "F1"]
    perplexities = ("perplexity_forward", "perplexity_backward", "perplexity")
    scores = ("accuracy", "top5_accuracy", "precision", "recall", "f1")
    rows = []
    for bilm in material.bilms:
        facts = bilm.record["data"]
        splits = [s for s in SPLITS.items() if f"{s[0]}/perplexity" in bilm.record["metrics"]]
        for index, (prefix, split) in enumerate(splits):
            line = [f"{facts['vocabulary_size']:,}", f"{facts['unknown_rate'][split]:.2%}"]
            line += [number(metric_value(bilm.record, f"{prefix}/{n}"), 2) for n in perplexities]
            line += [number(metric_value(bilm.record, f"{prefix}/{n}"), 3) for n in scores]
            rows.append(["" if index else bilm.name, split, *line])
    paper.table(
        "The language model at its best epoch on validation: perplexity forward, backward and of "
        "both together; top-1 and top-5 accuracy and the macro scores of both.",
        header,
        rows,
    )
    curves = {}
    for bilm in material.bilms[:MOST_CURVES]:
        scalars = read_curves(bilm.run.folder)
        if {"train/perplexity", "val/perplexity"} <= scalars.keys():
            curves[bilm.name] = {
                "train": scalars["train/perplexity"],
                "validation": scalars["val/perplexity"],
            }
    if curves:
        paper.figure(
            "pretraining",
            "Perplexity of both directions after each epoch; that of train is measured during the "
            "epoch, with dropout on. The number is that of validation at the end.",
            figures.pretraining(curves),
        )
    else:
        paper.leave_out("Curves of pretraining", "the runs have no `tables/curves.csv`")
    best = material.bilms[0]
    splits = best.record.get("splits", {})
    groups = {
        split: {
            group["group"]: float("nan") if (p := group["perplexity"]["together"]) is None else p
            for group in splits[split]["perplexity_by_frequency"]
        }
        for split in SPLITS.values()
        if split in splits
    }
    if groups:
        paper.figure(
            "frequencies",
            "Perplexity by the rank of the target among the words of the train split"
            + (f", {best.name}." if len(material.bilms) > 1 else "."),
            figures.frequencies(groups),
        )


def commit(record: dict[str, Any]) -> str:
    """Return the beginning of the commit of a run; empty where it is not known."""
    return f"`{record['git']['commit'][:7]}`" if record.get("git") else ""


def classification(material: Material, paper: Manuscript) -> None:
    """Write the section on all classifiers, and say which of them are not compared."""
    if not material.classifiers:
        paper.leave_out("Classification", "the folders contain no finished classifier")
        return
    paper.heading("Classification: metrics on train and test")
    paper.paragraph(
        "Every setting on all labels, in the order of its validation accuracy. Deviations are "
        "sample deviations over seeds. Precision, recall and F1 are means over the classes; ECE is "
        "the expected calibration error over 15 bins, which the margins of an SVM do not have."
    )
    rows = [
        [
            c.title,
            str(len(c.setting.records)),
            number(c.mean("train/accuracy")),
            with_deviation(c.mean("val/accuracy"), c.deviation("val/accuracy")),
            with_deviation(c.mean("test/accuracy"), c.deviation("test/accuracy")),
            number(c.mean("test/ece"), 3),
        ]
        for c in material.classifiers
    ]
    header = ["setting", "seeds", "train acc.", "validation acc.", "test acc.", "test ECE"]
    paper.table("All classifiers on all labels.", header, rows)
    scores = ("precision", "recall", "f1")
    paper.table(
        "Macro scores on train / on test, means over seeds.",
        ["setting", "precision", "recall", "F1"],
        [[c.title, *(_train_and_test(c, score) for score in scores)] for c in material.classifiers],
    )
    untested = [c.title for c in material.classifiers if not c.summary]
    if untested:
        paper.leave_out(
            f"{', '.join(untested)}, compared with others",
            "not evaluated on the whole test split, as in a search",
        )
    comparable = {c.title for recipe in training_recipes(material) for c in recipe.comparable}
    for classifier in material.tested:
        if classifier.title not in comparable:
            paper.leave_out(
                f"{classifier.title}, compared with others", _difference(classifier, material)
            )
    if material.tested:
        shown = sorted(material.tested, key=lambda c: -c.mean("test/accuracy"))
        paper.figure(
            "accuracies",
            "Test accuracy: the mean over seeds (dot) with its 95 % interval, a hierarchical "
            "bootstrap over seeds and test rows (10,000 resamples); small bars are the seeds.",
            figures.intervals(
                [
                    (
                        c.title,
                        c.summary.mean,
                        c.summary.low,
                        c.summary.high,
                        c.values("test/accuracy").tolist(),
                    )
                    for c in shown
                    if c.summary
                ]
            ),
        )


def _train_and_test(classifier: Classifier, score: str) -> str:
    return " / ".join(number(classifier.mean(f"{split}/{score}")) for split in ("train", "test"))


def _difference(classifier: Classifier, material: Material) -> str:
    """Say why a tested classifier does not compare with the reference."""
    if classifier.is_finetuned:
        return "its biLM is fine-tuned, see the section on fine-tuning"
    if classifier.kind == "blend":
        return "it averages runs of other settings"
    reference = material.reference
    assert reference is not None  # a tested classifier on layers that is not fine-tuned is one
    frame, other = reference.frame, classifier.frame
    keys = sorted(key for key in {*frame, *other} if frame.get(key) != other.get(key))
    return f"it differs from {reference.title} in {', '.join(f'`{key}`' for key in keys)}"


def matrices(material: Material, paper: Manuscript) -> None:
    """Write the section with all confusion matrices."""
    if not material.classifiers:
        return
    paper.heading("Confusion matrices on train and test")
    splits = material.classifiers[0].setting.records[0]["splits"]
    names = list(next(iter(splits.values()))["per_class"])
    modes = material.best_of_modes() or material.representations()[:1]
    shown = [*modes, *filter(None, [material.best(material.fine_tuned)])]
    if shown:
        paper.figure(
            "confusion",
            "Confusion on train and test of "
            + ("each lambda mode" if material.best_of_modes() else shown[0].title)
            + (", and of the best fine-tuned biLM" if len(shown) > len(modes) else "")
            + ": per cent of the true class (row) by predicted class (column), all seeds together.",
            figures.confusions(
                {c.title: {s: c.confusion(s) for s in ("train", "test")} for c in shown}, names
            ),
        )
    rows = []
    for classifier in material.classifiers:
        splits = classifier.setting.records[0]["splits"]
        shares = [class_shares(classifier.confusion(s)) for s in ("train", "test") if s in splits]
        for index, name in enumerate(names):
            cells = [
                " / ".join(f"{100 * share[index, column]:.1f}" for share in shares)
                for column in range(len(names))
            ]
            rows.append([classifier.title if not index else "", name, *cells])
    paper.table(
        "Confusion matrices of every setting: per cent of the true class on train / on test, all "
        "seeds together.",
        ["setting", "true", *names],
        rows,
    )


def comparison(material: Material, paper: Manuscript) -> None:
    """Write the section that compares the representations."""
    chosen = material.representations()
    if len(chosen) < 2:
        paper.leave_out(
            "ELMo against Word2Vec, SVD and TF-IDF",
            "it needs tested classifiers of two representations or more",
        )
        return
    paper.heading("ELMo against Word2Vec, SVD and TF-IDF")
    tests = paired_tests(material, chosen)
    paper.paragraph(
        "Each representation is shown by the setting that is best on validation.",
        _rule(material.reference),
        METHOD,
    )
    paper.paragraph(ranking(chosen, REPRESENTATIONS), tests.against(0))
    paper.paragraph(*set_apart(material, chosen))
    paper.table(
        "Means of single models, averaged models: differences in points on the test rows, and the "
        "rows that only one of the averaged models has right.",
        HEADER,
        tests.rows(),
    )


def _rule(reference: Classifier | None) -> str:
    """Say which settings are comparable, see `Material.comparable`."""
    if reference is None:
        return ""
    is_mode = reference.is_elmo and reference.choices["mixer"] in MODES
    kind = "lambda mode of ELMo" if is_mode else "setting on layers"
    return (
        "Settings on layers are compared where they share the head, the training and the `study` "
        f"of {reference.title}, the tested {kind} that is best on validation"
        + (", where possible with a counterpart of Word2Vec or SVD" if is_mode else "")
        + "; Word2Vec and SVD also with a head and training of their own."
    )
