"""The sections on neighbours, errors, calibration and cost, and the appendix."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from elmo.gather import Outcome
from elmo.metrics import CALIBRATION_BINS
from elmo.report import figures
from elmo.report.collect import NAMES, Classifier, Material, word_counts
from elmo.report.findings import confused, percent
from elmo.report.writing import Manuscript, number
from elmo.resume import RUN_FILE
from elmo.runs import is_place
from elmo.significance import averaged

OCCURRENCES = 10  # whose neighbours are shown
SHOWN = 3  # of each, in a cell
WORDS = (0, 20, 30, 40, 60)  # where groups of lengths begin
UNKNOWN = (0.0, 1e-9, 0.03, 0.06)  # and of unknown shares
# Sweeps by themselves; what they vary stands among the overrides of every job.
STUDIES = ("experiment=lambda_study", "experiment=learning_curve")


def neighbours(material: Material, paper: Manuscript) -> None:
    if not material.neighbours:
        paper.without("Neighbours in context", "no `python -m elmo.senses` was run")
        return
    paper.heading("Neighbours in context")
    study = material.neighbours[0]
    first = next(iter(study["encoders"].values()))
    rows = [
        [NAMES.get(name, name), str(layer), f"{value:.3f}"]
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
            lines.append((key, NAMES.get(name, name), cells))
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
                near[layer] if (near := cells_of.get((key, NAMES.get(name, name)))) else ""
                for name, layer in columns
            ),
        ]
        for key in keys
    ]
    paper.table(
        "Nearest neighbours of an occurrence, given by word, row and class. Static vectors and "
        "layer 0 have words of the vocabulary as neighbours, the layers above occurrences: word, "
        "row of the source, class.",
        ["occurrence", *(f"{NAMES.get(name, name)} {layer}" for name, layer in columns)],
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


def cost(material: Material, paper: Manuscript) -> None:
    rows = []
    for run in material.bilms:
        sizes = run.record.get("parameters", {})
        rows.append(["biLM, pretraining", _size(sum(sizes.values())), "", *_times(run.record)])
    for one in material.classifiers:
        record = one.setting.records[0]
        sizes = record.get("parameters", {})
        encoder = sizes.get("encoder", 0)
        own = sum(sizes.values()) - encoder
        if "features" in record:
            own = (record["features"] + 1) * len(record["splits"]["train"]["per_class"])
        times = [float(r["seconds"]) for r in one.setting.records]
        _, threads, device = _times(record)
        line = [
            one.title,
            _size(own),
            _size(encoder),
            f"{np.mean(times):,.0f}",
            threads,
            device,
        ]
        rows.append(line)
    if not rows:
        return
    paper.heading("Cost")
    paper.paragraph(
        "Seconds of a whole run on the wall clock, final evaluation of all splits included, mean "
        "over seeds, on machines that may have had other work. What was computed once and cached "
        "for later runs (vectors, the frozen layers) is in the run that came first. Of TF-IDF the "
        "weights of the linear classifier are counted."
    )
    header = ["setting", "parameters", "of the encoder", "seconds", "threads", "device"]
    paper.table(
        "Size and time: parameters of mixer and head or of the linear classifier, and those of the "
        "frozen encoder under them.",
        header,
        rows,
    )


def _times(record: dict[str, Any]) -> list[str]:
    return [f"{record['seconds']:,.0f}", str(record["threads"]), record["device"]]


def _size(value: int) -> str:
    return f"{value:,}" if value else ""


def matrices(material: Material, paper: Manuscript) -> None:
    if not material.classifiers:
        return
    paper.heading("Confusion matrices")
    rows = []
    names = list(material.classifiers[0].setting.records[0]["splits"]["train"]["per_class"])
    for one in material.classifiers:
        splits = one.setting.records[0]["splits"]
        shares = [_shares(one.confusion(s)) for s in ("train", "test") if s in splits]
        for index, name in enumerate(names):
            cells = [
                " / ".join(f"{share[index, column]:.1f}" for share in shares)
                for column in range(len(names))
            ]
            rows.append([one.title if not index else "", name, *cells])
    paper.table(
        "Confusion matrices of every setting: per cent of the true class on train / on test, all "
        "seeds together.",
        ["setting", "true", *names],
        rows,
    )


def _shares(counts: np.ndarray) -> np.ndarray:
    return 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))


def commands(material: Material, paper: Manuscript) -> None:
    paper.heading("Where the figures come from")
    paper.paragraph(
        "Each line is the command of one setting; its runs differ in `seed`. The commit is the "
        "one that the first of them ran on."
    )
    rows = []
    for run in material.bilms:
        rows.append(["biLM", _command([run.folder], [run.record]), _commit(run.record)])
    for one in _all(material):
        rows.append(
            [
                f"{one.title}"
                + ("" if one.share == 1 else f", {percent(one.share)} of the labels"),
                _command(one.setting.folders, one.setting.records),
                _commit(one.setting.records[0]),
            ]
        )
    paper.table("Commands.", ["setting", "command", "commit"], rows)
    listed = ", ".join(f"{name} {version}" for name, version in material.versions.items())
    paper.paragraph(
        "Neighbours in context: `python -m elmo.senses`. This report: `python -m elmo.report`. "
        f"Versions: {listed}."
    )


def _all(material: Material) -> list[Classifier]:
    return [*material.classifiers, *material.few]


def _command(folders: Sequence[Path], records: Sequence[dict[str, Any]]) -> str:
    """What was typed, without what says where and how it ran; what the runs vary in, as a sweep."""
    typed: dict[str, dict[str, None]] = {}
    script = ""
    for folder, record in zip(folders, records, strict=True):
        if (folder / RUN_FILE).is_file():
            start = json.loads((folder / RUN_FILE).read_text())
            script = start["script"]
            for override in [*start["overrides"], f"seed={record['settings']['seed']}"]:
                if not is_place(override) and override not in STUDIES:
                    key, _, value = override.partition("=")
                    typed.setdefault(key, {})[value] = None
    if not script:
        return ""
    words = [f"{key}={','.join(values)}" for key, values in typed.items()]
    words = [word for word in words if word != "seed=0"]
    several = ["-m"] if any(len(values) > 1 for values in typed.values()) else []
    return f"`{shlex.join(['python', script + '.py', *words, *several])}`"


def _commit(record: dict[str, Any]) -> str:
    return f"`{record['git']['commit'][:7]}`" if record.get("git") else ""
