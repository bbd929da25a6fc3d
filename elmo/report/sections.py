"""The sections on data, settings, pretraining and the comparison of all classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elmo.evaluation.language_model_scores import DIRECTIONS
from elmo.report import figures
from elmo.report.collect import curves
from elmo.report.findings import against, chance, ranking
from elmo.report.material import Classifier, Material, paired, value_of
from elmo.report.writing import Manuscript, number, with_deviation
from elmo.runs.keys import relevant

SPLITS = {"train": "train", "val": "validation", "test": "test"}


def data(material: Material, paper: Manuscript) -> None:
    facts = material.data
    paper.heading("Data")
    known = [run.record["data"] for run in material.bilms] or [
        record["data"]
        for one in material.classifiers
        for record in one.setting.records
        if "vocabulary_size" in record["data"]
    ]
    rows = [
        ["rows of the source, train and test", _counts(facts, "train", "test", "rows_in_source")],
        ["train rows dropped because they stand in the test split", _count(facts, "also_in_test")],
        ["descriptions that occur more than once", _count(facts, "repeated_descriptions")],
        ["of these, with different labels", _count(facts, "conflicting_labels")],
        ["rows of train, validation, test", _counts(facts, *SPLITS.values(), "rows")],
    ]
    if known:
        unknown = known[0]["unknown_rate"]
        rows += [
            ["vocabulary V", f"{known[0]['vocabulary_size']:,}"],
            [
                "unknown words of train, validation, test",
                " / ".join(f"{unknown[split]:.2%}" for split in SPLITS.values()),
            ],
        ]
    paper.paragraph(
        f"All figures are of the corpus `{facts['name']}` (fingerprint `{facts['fingerprint']}`). "
        "Choices are made on the validation split; the test split is read once, at the end of "
        "each run."
    )
    paper.table("The corpus.", ["fact", "rows or words"], rows)


def _count(facts: dict[str, Any], ending: str) -> str:
    return ", ".join(f"{value:,}" for key, value in facts.items() if key.endswith(ending))


def _counts(facts: dict[str, Any], *names: str) -> str:
    *splits, ending = names
    return " / ".join(f"{facts[f'{split}_{ending}']:,}" for split in splits)


def settings(material: Material, paper: Manuscript) -> None:
    paper.heading("Hyperparameters")
    every = [(c.kind == "tfidf", r) for c in material.classifiers for r in c.setting.records]
    jobs = [
        ("the biLM", [run.record for run in material.bilms]),
        ("the classifiers on layers", [record for linear, record in every if not linear]),
        ("TF-IDF", [record for linear, record in every if linear]),
    ]
    told = False
    for job, records in jobs:
        if not records:
            paper.without(f"Hyperparameters of {job}", "no such run lies in the folders")
            continue
        told = True
        plain = [relevant(record["settings"]) for record in records]
        keys = dict.fromkeys(key for one in plain for key in one)
        rows = []
        for key in keys:
            if key.startswith("data.") or key == "bilm":
                continue
            values = dict.fromkeys(str(one[key]) for one in plain if key in one)
            rows.append([f"`{key}`", ", ".join(values)])
        half = (len(rows) + 1) // 2
        left, right = rows[:half], [*rows[half:], ["", ""]][:half]
        header = ["setting", "value", "setting", "value"]
        lines = [[*pair[0], *pair[1]] for pair in zip(left, right, strict=True)]
        paper.table(f"Settings of {job}; where runs differ, all values.", header, lines)
    if not told:
        paper.paragraph("No run of either task lies in the folders.")


def pretraining(material: Material, paper: Manuscript) -> None:
    if not material.bilms:
        paper.without("Pretraining", "no finished run of `train_lm.py` lies in the folders")
        return
    paper.heading("Pretraining")
    names = [
        "biLM" if len(material.bilms) == 1 else f"biLM {index + 1}"
        for index in range(len(material.bilms))
    ]
    found = {}
    for name, run in zip(names, material.bilms, strict=True):
        scalars = curves(run.folder)
        if {"train/perplexity", "val/perplexity"} <= scalars.keys():
            found[name] = {
                "train": scalars["train/perplexity"],
                "validation": scalars["val/perplexity"],
            }
    header = ["", "split", "V", "unknown", *DIRECTIONS]
    header += ["top-1", "top-5", "precision", "recall", "F1"]
    rows = []
    for name, run in zip(names, material.bilms, strict=True):
        facts = run.record["data"]
        for prefix, split in SPLITS.items():
            if f"{prefix}/perplexity" not in run.record["metrics"]:
                continue
            endings = ("perplexity_forward", "perplexity_backward", "perplexity")
            line = [f"{facts['vocabulary_size']:,}", f"{facts['unknown_rate'][split]:.2%}"]
            line += [number(value_of(run.record, f"{prefix}/{one}"), 2) for one in endings]
            scores = ("accuracy", "top5_accuracy", "precision", "recall", "f1")
            line += [number(value_of(run.record, f"{prefix}/{one}"), 3) for one in scores]
            rows.append([name, split, *line])
    paper.paragraph(
        "The forward model predicts the next word and the sentence end, the backward model the "
        "previous word and the sentence start. Perplexity is exp(sum of negative "
        "log-likelihoods / number of targets); `<unk>` is a word, padding is none. It depends on V "
        "and on the unknown rate. Train is a seeded sample of rows, with dropout off. Precision, "
        "recall and F1 are means over the words that occur as targets, most of which are rare."
    )
    paper.table(
        "The language model at its best epoch on validation: perplexity forward, backward and of "
        "both together; top-1 and top-5 accuracy and the macro scores of both.",
        header,
        rows,
    )
    if found:
        paper.figure(
            "pretraining",
            "Perplexity of both directions after each epoch; of train with dropout on, during the "
            "epoch.",
            figures.pretraining(found),
        )
    else:
        paper.without("Curves of pretraining", "the runs have no `tables/curves.csv`")
    splits = material.bilms[0].record.get("splits", {})
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
            + ("." if len(names) == 1 else f", {names[0]}."),
            figures.frequencies(groups),
        )


def classification(material: Material, paper: Manuscript) -> None:
    if not material.classifiers:
        paper.without("Classification", "no finished classifier lies in the folders")
        return
    paper.heading("Classification")
    paper.paragraph(
        "Every setting on all labels, in the order of its validation accuracy. Deviations are over "
        "seeds, of a sample. Precision, recall and F1 are means over the classes; ECE is the "
        "expected calibration error over 15 bins, which the margins of an SVM do not have."
    )
    rows = []
    for one in material.classifiers:
        rows.append(
            [
                one.title,
                str(len(one.setting.records)),
                number(one.mean("train/accuracy")),
                with_deviation(one.mean("val/accuracy"), one.deviation("val/accuracy")),
                with_deviation(one.mean("test/accuracy"), one.deviation("test/accuracy")),
                number(one.mean("test/ece"), 3),
            ]
        )
    header = ["setting", "seeds", "train acc.", "validation acc.", "test acc.", "test ECE"]
    paper.table("All classifiers on all labels.", header, rows)
    scores = ("precision", "recall", "f1")
    paper.table(
        "Macro scores on train / on test, means over seeds.",
        ["setting", "precision", "recall", "F1"],
        [
            [one.title, *(" / ".join(_on_both(one, score)) for score in scores)]
            for one in material.classifiers
        ],
    )
    untested = [one.title for one in material.classifiers if not one.summary]
    if untested:
        paper.without(
            f"{', '.join(untested)}, compared with others",
            "not evaluated on the whole test split, as in a search",
        )
    frame = material.frame
    for one in material.tested:
        if one not in material.comparable:
            keys = sorted(k for k in {*one.frame, *frame} if one.frame.get(k) != frame.get(k))
            listed = ", ".join(f"`{key}`" for key in keys)
            paper.without(f"{one.title}, compared with others", f"other than most in {listed}")
    if material.tested:
        shown = sorted(material.tested, key=lambda one: -one.mean("test/accuracy"))
        paper.figure(
            "accuracies",
            "Test accuracy: the mean over seeds with its 95 % bootstrap interval over the test "
            "rows (10,000 resamples); small bars are the seeds.",
            figures.intervals(
                [
                    (
                        one.title,
                        one.summary.mean,
                        one.summary.low,
                        one.summary.high,
                        one.values("test/accuracy").tolist(),
                    )
                    for one in shown
                    if one.summary
                ]
            ),
        )


def _on_both(one: Classifier, score: str) -> list[str]:
    return [number(one.mean(f"{split}/{score}")) for split in ("train", "test")]


def comparison(material: Material, paper: Manuscript) -> None:
    chosen = material.representations()
    if len(chosen) < 2:
        paper.without(
            "ELMo beside Word2Vec, SVD and TF-IDF",
            "it needs tested classifiers of two representations or more",
        )
        return
    paper.heading("ELMo beside Word2Vec, SVD and TF-IDF")
    pairs = paired(chosen)
    paper.paragraph(
        "Of each representation the setting that is best on validation, among those that have the "
        "head and the training that most runs have. Rows that one of two "
        "settings alone has right are compared by McNemar's exact test, on the class that is most "
        "probable when the probabilities of the seeds are averaged that both have; p is corrected "
        "by Holm's method. It tells what other test rows could change, not what another training "
        "could: that is what the deviations over seeds are for."
    )
    first = chosen[0]
    paper.paragraph(ranking(chosen), against(chosen, pairs, first))
    paper.table("Paired tests on the test rows.", PAIR_HEADER, pair_rows(chosen, pairs))


PAIR_HEADER = ("one", "other", "difference", "seeds", "one / other alone right", "p")


def pair_rows(classifiers: Sequence[Classifier], pairs: Sequence[Any]) -> list[list[str]]:
    return [
        [
            classifiers[pair.one].title,
            classifiers[pair.other].title,
            f"{100 * pair.difference:+.2f}",
            str(pair.seeds or "all"),
            f"{pair.only_one} / {pair.only_other}",
            chance(pair.corrected).removeprefix("p = ").removeprefix("p "),
        ]
        for pair in pairs
    ]
