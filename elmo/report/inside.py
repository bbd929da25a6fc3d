"""The sections on neighbours in context, errors and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from elmo.evaluation.metrics import CALIBRATION_BINS
from elmo.evaluation.significance import averaged
from elmo.report import figures
from elmo.report.collect import word_counts
from elmo.report.findings import confused
from elmo.report.material import Material
from elmo.report.writing import Manuscript, number
from elmo.runs.finished import Outcome
from elmo.runs.labels import ENCODERS

OCCURRENCES = 10  # whose neighbours are shown
SHOWN = 3  # of each, in a cell
WORDS = (0, 20, 30, 40, 60)  # where groups of lengths begin
UNKNOWN = (0.0, 1e-9, 0.03, 0.06)  # and of unknown shares


def neighbours(material: Material, paper: Manuscript) -> None:
    if not material.neighbours:
        paper.without("Neighbours in context", "no `elmo senses` was run")
        return
    paper.heading("Neighbours in context")
    study = material.neighbours[0]
    first = next(iter(study["encoders"].values()))
    rows = [
        [ENCODERS.get(name, name), str(layer), f"{value:.3f}"]
        for name, found in study["encoders"].items()
        for layer, value in enumerate(found["agreement"])
    ]
    best = max(rows, key=lambda row: row[2])
    paper.paragraph(
        f"{len(first['words'])} words of several senses occur {sum(first['words'].values())} times "
        f"among the {study['rows']:,} {study['split']} rows. The class of a description stands for "
        "the sense of the word in it: how often is the nearest other occurrence of the same word, "
        f"by cosine, in a description of the same class? By chance in {first['chance']:.3f} of the "
        "cases, and static vectors, equal at every occurrence, cannot do better; "
        f"layer {best[1]} of {best[0]} comes to {best[2]}."
    )
    paper.table("Nearest occurrences of the same class.", ["encoder", "layer", "same class"], rows)
    lines = []
    for name, found in study["encoders"].items():
        for query in found["queries"]:
            cells = [_near(best) for best in query["neighbours"]]
            key = (query["word"], query["row"], query["class"])
            lines.append((key, ENCODERS.get(name, name), cells))
    keys = list(dict.fromkeys(key for key, _, _ in lines))[:OCCURRENCES]
    columns = [
        (name, layer)
        for name, found in study["encoders"].items()
        for layer in range(len(found["agreement"]))
    ]
    cells_of = {(key, name): cells for key, name, cells in lines}
    table = [
        [
            f"{key[0]}, {key[1]}, {key[2]}",
            *(
                near[layer] if (near := cells_of.get((key, ENCODERS.get(name, name)))) else ""
                for name, layer in columns
            ),
        ]
        for key in keys
    ]
    paper.table(
        "Nearest neighbours of an occurrence, given by word, row and class. Static vectors and "
        "layer 0 have words of the vocabulary as neighbours, the layers above occurrences: word, "
        "row of the source, class.",
        ["occurrence", *(f"{ENCODERS.get(name, name)} {layer}" for name, layer in columns)],
        table,
    )


def _near(found: Sequence[dict[str, Any]]) -> str:
    return "; ".join(
        one["word"] if one["row"] is None else f"{one['word']}, {one['row']}, {one['class']}"
        for one in found[:SHOWN]
    )


def errors(material: Material, paper: Manuscript) -> None:
    chosen = material.representations()
    if not chosen:
        paper.without("Errors", "no classifier was evaluated on the test split")
        return
    paper.heading("Errors")
    outcomes = {one.title: averaged(one.setting.outcomes()) for one in chosen}
    names = next(iter(outcomes.values())).classes
    paper.paragraph(*(confused(names, one.confusion("test"), one.title) for one in chosen[:2]))
    rows = [
        [one.title, *_pairs(names, one.confusion("test"), len(one.setting.records))]
        for one in chosen
    ]
    pairs = [f"{names[i]} and {names[j]}" for i in range(len(names)) for j in range(i)]
    paper.table(
        "Test rows that are taken for the other class of a pair, mean over seeds.",
        ["setting", *pairs],
        rows,
    )
    per_class = []
    for one in chosen:
        for index, name in enumerate(names):
            found = [record["splits"]["test"]["per_class"][name] for record in one.setting.records]
            scores = [
                number(float(np.mean([s[score] for s in found])), 3)
                for score in ("precision", "recall", "f1")
            ]
            per_class.append([one.title if not index else "", name, *scores])
    header = ["setting", "class", "precision", "recall", "F1"]
    paper.table(
        "Precision, recall and F1 of each class on test, mean over seeds.", header, per_class
    )
    counts = word_counts(material)
    if counts is None:
        paper.without(
            "Accuracy by length and by unknown words", "the predictions do not count words"
        )
    else:
        lengths = np.digitize(counts.words, WORDS) - 1
        shares = np.digitize(counts.unknown / np.maximum(1, counts.words), UNKNOWN) - 1
        panels = {
            "words of the description": (_length_names(lengths), _groups(outcomes, lengths)),
            "share of unknown words": (_share_names(shares), _groups(outcomes, shares)),
        }
        paper.figure(
            "groups",
            "Test accuracy by length and by the share of words that are not in the vocabulary "
            "(that of the biLM, if there is one); below, the rows of each group.",
            figures.by_group(panels),
        )
    best = chosen[0]
    paper.figure(
        "confusion",
        f"Confusion of {best.title} on train and test, share of the true class, all seeds "
        "together; the matrices of all settings stand in the appendix.",
        figures.confusions({split: best.confusion(split) for split in ("train", "test")}, names),
    )
    lines = {
        one.title: _bins(outcomes[one.title])
        for one in chosen
        if not np.isnan(one.mean("test/ece"))
    }
    if lines:
        paper.figure(
            "calibration",
            f"Calibration on test, {CALIBRATION_BINS} bins of the probability of the predicted "
            "class, with the probabilities of the seeds averaged; bins of fewer than 10 rows are "
            "left out. The expected calibration errors of single seeds stand with the other "
            "figures above.",
            figures.reliability(lines, 1 / len(names)),
        )


def _pairs(names: Sequence[str], counts: np.ndarray, seeds: int) -> list[str]:
    both = (counts + counts.T) / seeds
    return [f"{both[i, j]:.1f}" for i in range(len(names)) for j in range(i)]


def _groups(outcomes: dict[str, Outcome], groups: np.ndarray) -> dict[str, list[float]]:
    return {
        title: [float(outcome.correct[groups == group].mean()) for group in np.unique(groups)]
        for title, outcome in outcomes.items()
    }


def _length_names(groups: np.ndarray) -> list[str]:
    names = [f"{start} to {end - 1}" for start, end in pairwise(WORDS)]
    names[0] = f"below {WORDS[1]}"
    return _with_rows([*names, f"{WORDS[-1]} up"], groups)


def _share_names(groups: np.ndarray) -> list[str]:
    low, high = UNKNOWN[2:]
    return _with_rows(
        ["none", f"below {low:.0%}", f"{low:.0%} to {high:.0%}", f"{high:.0%} up"], groups
    )


def _with_rows(names: Sequence[str], groups: np.ndarray) -> list[str]:
    return [f"{names[group]}\n{(groups == group).sum():,}" for group in np.unique(groups)]


def _bins(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability and accuracy in each bin of the probability of the predicted class."""
    confidence = outcome.probabilities.max(1)
    places = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    filled = [place for place in np.unique(places) if (places == place).sum() >= 10]
    return (
        np.array([confidence[places == place].mean() for place in filled]),
        np.array([outcome.correct[places == place].mean() for place in filled]),
    )
