"""The sections on neighbours in context, errors and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from elmo.evaluation.metrics import CALIBRATION_BINS
from elmo.evaluation.significance import average_outcomes
from elmo.report import figures
from elmo.report.collect import word_counts
from elmo.report.findings import confused_classes
from elmo.report.material import Classifier, Material
from elmo.report.writing import Manuscript, number
from elmo.runs.finished import Outcome
from elmo.runs.labels import ENCODERS

OCCURRENCES = 10  # occurrences in the table of neighbours
SHOWN = 3  # neighbours in a cell
LENGTHS = (0, 20, 30, 40, 60)  # the lowest number of words of each group
UNKNOWN = (0.0, 1e-9, 0.03, 0.06)  # the lowest share of unknown words of each group
SMALLEST_BIN = 10  # rows that a calibration bin needs to be drawn


def neighbours(material: Material, paper: Manuscript) -> None:
    """Write the section on the nearest neighbours of ambiguous words."""
    if not material.neighbours:
        paper.leave_out("Neighbours in context", "`python -m elmo senses` was not run")
        return
    paper.heading("Neighbours in context")
    study = material.neighbours[0]
    encoders = {ENCODERS.get(name, name): result for name, result in study["encoders"].items()}
    first = next(iter(encoders.values()))
    rows = [
        [name, str(layer), f"{value:.3f}"]
        for name, result in encoders.items()
        for layer, value in enumerate(result["agreement"])
    ]
    best = max(rows, key=lambda row: row[2])
    paper.paragraph(
        f"{len(first['words'])} words of several senses occur {sum(first['words'].values())} times "
        f"among the {study['rows']:,} {study['split']} rows. The class of a description stands for "
        "the sense of the word in it: how often is the nearest other occurrence of the same word, "
        f"by cosine, in a description of the same class? By chance in {first['chance']:.3f} of the "
        "cases. Static vectors, which are equal at every occurrence, cannot do better; "
        f"layer {best[1]} of {best[0]} reaches {best[2]}."
    )
    paper.table("Nearest occurrences of the same class.", ["encoder", "layer", "same class"], rows)
    cells = {
        (query["word"], query["row"], query["class"], name): list(map(_near, query["neighbours"]))
        for name, result in encoders.items()
        for query in result["queries"]
    }
    columns = [
        (name, layer)
        for name, result in encoders.items()
        for layer in range(len(result["agreement"]))
    ]
    table = [
        [
            ", ".join(map(str, occurrence)),
            *(
                layers[layer] if (layers := cells.get((*occurrence, name))) else ""
                for name, layer in columns
            ),
        ]
        for occurrence in list(dict.fromkeys(key[:3] for key in cells))[:OCCURRENCES]
    ]
    paper.table(
        "Nearest neighbours of an occurrence, given by word, row and class. The neighbours of "
        "static vectors and of layer 0 are words of the vocabulary, those of the layers above are "
        "occurrences: word, row of the source, class.",
        ["occurrence", *(f"{name} {layer}" for name, layer in columns)],
        table,
    )


def _near(nearest: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        n["word"] if n["row"] is None else f"{n['word']}, {n['row']}, {n['class']}"
        for n in nearest[:SHOWN]
    )


def errors(material: Material, paper: Manuscript) -> None:
    """Write the section on errors, and on accuracy by length, unknown words and probability."""
    chosen = material.representations()
    if not chosen:
        paper.leave_out("Errors", "no classifier was evaluated on the test split")
        return
    paper.heading("Errors")
    outcomes = {c.title: average_outcomes(c.setting.outcomes()) for c in chosen}
    names = next(iter(outcomes.values())).classes
    paper.paragraph(*(confused_classes(names, c.confusion("test"), c.title) for c in chosen[:2]))
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    paper.table(
        "Test rows of one class of a pair that are classified as the other, mean over seeds.",
        ["setting", *(f"{names[i]} and {names[j]}" for i, j in pairs)],
        [[c.title, *_confused_rows(c, pairs)] for c in chosen],
    )
    paper.table(
        "Precision, recall and F1 of each class on test, mean over seeds.",
        ["setting", "class", "precision", "recall", "F1"],
        [
            [c.title if not index else "", name, *_class_scores(c, name)]
            for c in chosen
            for index, name in enumerate(names)
        ],
    )
    _accuracy_by_group(material, outcomes, paper)
    bins = {
        c.title: _calibration_bins(outcomes[c.title])
        for c in chosen
        if not np.isnan(c.mean("test/ece"))
    }
    if bins:
        paper.figure(
            "calibration",
            f"Calibration on test, {CALIBRATION_BINS} bins of the probability of the predicted "
            "class, with the probabilities of the seeds averaged; bins of fewer than "
            f"{SMALLEST_BIN} rows are left out. The table of all classifiers has the expected "
            "calibration errors, means over single seeds.",
            figures.reliability(bins, 1 / len(names)),
        )


def _confused_rows(classifier: Classifier, pairs: Sequence[tuple[int, int]]) -> list[str]:
    counts = classifier.confusion("test")
    both = (counts + counts.T) / len(classifier.setting.records)
    return [f"{both[pair]:.1f}" for pair in pairs]


def _class_scores(classifier: Classifier, name: str) -> list[str]:
    scores = [r["splits"]["test"]["per_class"][name] for r in classifier.setting.records]
    return [
        number(float(np.mean([score[metric] for score in scores])), 3)
        for metric in ("precision", "recall", "f1")
    ]


def _accuracy_by_group(
    material: Material, outcomes: Mapping[str, Outcome], paper: Manuscript
) -> None:
    counts = word_counts(material)
    if counts is None:
        paper.leave_out(
            "Accuracy by length and by unknown words", "the predictions do not count words"
        )
        return
    lengths = np.digitize(counts.words, LENGTHS) - 1
    shares = np.digitize(counts.unknown / np.maximum(1, counts.words), UNKNOWN) - 1
    paper.figure(
        "groups",
        "Test rows that are classified wrongly, in per cent (100 less the accuracy), by length and "
        "by the share of words that are not in the vocabulary (that of the biLM, if there is one); "
        "below, the rows of each group.",
        figures.by_group(
            {
                "words of the description": _panel(outcomes, lengths, _length_names()),
                "share of unknown words": _panel(outcomes, shares, _share_names()),
            }
        ),
    )


def _panel(
    outcomes: Mapping[str, Outcome], groups: np.ndarray, names: Sequence[str]
) -> tuple[list[str], dict[str, list[float]]]:
    """Return the groups that have rows, and the accuracy of each setting in them.

    Args:
        groups: the group of each row (N,), an index of `names`.
    """
    filled = np.unique(groups)
    titles = [f"{names[group]}\n{(groups == group).sum():,}" for group in filled]
    return titles, {
        title: [float(outcome.correct[groups == group].mean()) for group in filled]
        for title, outcome in outcomes.items()
    }


def _length_names() -> list[str]:
    middle = [f"{start} to {end - 1}" for start, end in pairwise(LENGTHS[1:])]
    return [f"below {LENGTHS[1]}", *middle, f"{LENGTHS[-1]} up"]


def _share_names() -> list[str]:
    low, high = UNKNOWN[2:]
    return ["none", f"below {low:.0%}", f"{low:.0%} to {high:.0%}", f"{high:.0%} up"]


def _calibration_bins(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Return mean probability and accuracy by the probability of the predicted class."""
    confidence = outcome.probabilities.max(1)
    places = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    filled = [place for place in np.unique(places) if (places == place).sum() >= SMALLEST_BIN]
    return (
        np.array([confidence[places == place].mean() for place in filled]),
        np.array([outcome.correct[places == place].mean() for place in filled]),
    )
