"""The sections on the lambdas, on single layers and on the number of labels."""

from __future__ import annotations

import numpy as np

from elmo.report import figures
from elmo.report.collect import curves
from elmo.report.findings import (
    against,
    carrying_layer,
    favourite_layer,
    of_the_draws,
    percent,
    points,
    ranking,
    seeds,
    where_pretraining_pays,
)
from elmo.report.material import MODES, Classifier, Material, paired
from elmo.report.sections import PAIR_HEADER, pair_rows
from elmo.report.writing import Manuscript, number, with_deviation


def lambdas(material: Material, paper: Manuscript) -> None:
    tested = [one for mode in MODES if (one := material.of_mode(mode))]
    if not tested:
        paper.without(
            "The lambdas", "no tested run of `train_cls.py mixer=trainable,frozen,learned` is there"
        )
        return
    paper.heading("The lambdas")
    if len(tested) > 1:
        pairs = paired(tested)
        best = max(tested, key=lambda one: one.mean("val/accuracy"))
        paper.paragraph(ranking(tested), against(tested, pairs, best))
        paper.table("Paired tests of the lambda modes.", PAIR_HEADER, pair_rows(tested, pairs))
    trained = [one for one in tested if one.choices["mixer"] != "frozen"]
    paper.paragraph(*(favourite_layer(one) for one in trained))
    frozen = [c for c in material.tested if c.is_elmo and not c.is_finetuned]
    every = [one for one in frozen if one.choices["mixer"] in MODES]
    rows = []
    count = max(one.lambdas.shape[1] for one in every)  # biLMs may have different numbers
    for one in every:
        gammas = [record["gamma"] for record in one.setting.records]
        spread = float(np.std(gammas, ddof=1)) if len(gammas) > 1 else float("nan")
        weights = list(zip(one.lambdas.mean(0), _spread(one.lambdas), strict=True))
        cells = [with_deviation(mean, deviation, 2) for mean, deviation in weights]
        rows.append(
            [
                one.title,
                str(len(gammas)),
                *(cells + [""] * count)[:count],
                with_deviation(float(np.mean(gammas)), spread, 2),
                with_deviation(one.mean("test/accuracy"), one.deviation("test/accuracy")),
            ]
        )
    header = ["setting", "seeds", *(f"layer {layer}" for layer in range(count))]
    paper.table(
        "Weights of the layers, mean and deviation over seeds; of `learned` the mean gates over "
        "the validation rows. Frozen lambdas are drawn anew by every seed.",
        [*header, "gamma", "test acc."],
        rows,
    )
    _trajectories(trained, paper)
    _draws(material, paper)
    _gamma(every, paper)


def _spread(values: np.ndarray) -> np.ndarray:
    return values.std(0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)


def _trajectories(trained: list[Classifier], paper: Manuscript) -> None:
    runs = {
        one.choices["mixer"]: [
            {
                tag.removeprefix("lambda/"): steps
                for tag, steps in curves(folder).items()
                if tag.removeprefix("lambda/").isdigit()
            }
            for folder in one.setting.folders
        ]
        for one in trained
    }
    runs = {mode: kept for mode, found in runs.items() if (kept := [one for one in found if one])}
    if runs:
        paper.figure(
            "lambdas",
            "Lambdas in the course of the training, a line a seed; of `learned` the mean gates of "
            "the epoch so far.",
            figures.lambda_curves(runs),
        )
    else:
        paper.without("Lambdas in the course of training", "the runs have no `tables/curves.csv`")


def _draws(material: Material, paper: Manuscript) -> None:
    frozen = material.of_mode("frozen")
    records = frozen.setting.records if frozen else []
    found = [(record["lambdas"], record["metrics"]["test/accuracy"]) for record in records]
    if len({str(weights) for weights, _ in found}) < 3:
        paper.without("Accuracy against the draw of frozen lambdas", "it needs three draws")
        return
    weights, accuracies = (np.array(values) for values in zip(*found, strict=True))
    paper.paragraph(of_the_draws(weights, accuracies, material.of_mode("trainable")))
    paper.figure(
        "draws",
        "Frozen lambdas: test accuracy of each run against the weight that its draw gave to each "
        "layer.",
        figures.draws(weights, accuracies),
    )


def _gamma(every: list[Classifier], paper: Manuscript) -> None:
    """Settings that differ in `learn_gamma` alone, by the seeds that both have."""
    pairs: dict[str, dict[bool, Classifier]] = {}
    for one in every:
        plain = one.plain
        learned = plain.pop("mixer.learn_gamma", None)
        rest = dict(sorted(plain.items()))
        if learned is not None:
            pairs.setdefault(f"{one.choices['mixer']} {rest}", {})[learned] = one
    told = []
    for both in pairs.values():
        if both.keys() != {True, False}:
            continue
        on, off = (both[learned].by_seed("test/accuracy") for learned in (True, False))
        if shared := sorted(on.keys() & off.keys()):
            gains = np.array([on[seed] - off[seed] for seed in shared])
            word = "more" if gains.mean() >= 0 else "less"
            spread = f", deviation {points(gains.std(ddof=1))}" if len(gains) > 1 else ""
            mode = both[True].choices["mixer"]
            told.append(
                f"{points(gains.mean())} {word} with `{mode}` ({seeds(len(shared))}{spread})"
            )
    if told:
        paper.paragraph(
            f"A learned gamma gives {', '.join(told)} than gamma = 1: mean test accuracy over the "
            "seeds that both have."
        )
    else:
        paper.without("Gamma on and off", "it needs runs with `mixer.learn_gamma` true and false")


def layers(material: Material, paper: Manuscript) -> None:
    elmo = [one for one in material.comparable if one.is_elmo]
    single = [one for one in elmo if one.choices["mixer"] == "layer"]
    if len(single) < 2:
        paper.without(
            "What each layer is worth", "no tested runs of `mixer=layer mixer.layer=0,1,2`"
        )
        return
    paper.heading("What each layer is worth")
    best = material.best([one for mode in MODES if (one := material.of_mode(mode))])
    first = best or max(single, key=lambda one: one.mean("val/accuracy"))
    rest = [one for one in elmo if one.choices["mixer"] not in MODES]
    chosen = [first, *sorted((one for one in rest if one is not first), key=lambda one: one.title)]
    pairs = paired(chosen, first=True)
    paper.paragraph(
        carrying_layer(single, best),
        f"The table compares {first.title} with each of the others, by the same tests as above, "
        f"corrected for {len(pairs)}.",
    )
    tests = [[""] * 4, *(row[2:] for row in pair_rows(chosen, pairs))]
    rows = [
        [one.title, str(len(one.setting.records)), number(one.mean("test/accuracy")), *test]
        for one, test in zip(chosen, tests, strict=True)
    ]
    paper.table(
        f"Layers and mixers. The difference is {first.title} minus the row, in points, with the "
        "probabilities averaged of the seeds that are common to both.",
        ["setting", "seeds", "test acc.", "difference", "common", "it / row alone right", "p"],
        rows,
    )


def _labelled(one: Classifier, train_rows: int) -> int:
    return one.setting.records[0]["data"].get("labelled_rows", round(train_rows * one.share))


def learning_curve(material: Material, paper: Manuscript) -> None:
    lines = material.lines
    for one in material.alone:
        title = f"{one.title} with {percent(one.share)} of the labels"
        paper.without(title, "there is no other share of the labels to see it beside")
    if not lines:
        paper.without("Learning curve", "no setting was trained with several shares of the labels")
        return
    paper.heading("Learning curve")
    train_rows = material.data["train_rows"]
    shares = sorted({one.share for line in lines.values() for one in line})
    rows = []
    for name, line in lines.items():
        found = {one.share: one for one in line}
        cells = [
            with_deviation(f.mean("test/accuracy"), f.deviation("test/accuracy"))
            if (f := found.get(share))
            else ""
            for share in shares
        ]
        seeds_of = sorted({len(one.setting.records) for one in line})
        rows.append([name, " to ".join(map(str, seeds_of)), *cells])
    elmo = [name for name, line in lines.items() if line[0].is_elmo]
    others = [name for name in lines if name not in elmo]
    told = [where_pretraining_pays(lines, name, others) for name in elmo] if others else []
    paper.paragraph(
        "The same classifiers with fewer labels; the biLM, the vectors and the counts of words are "
        "of all train descriptions in any case. Every seed draws other labelled rows. With fewer "
        "labels the batches are smaller and the epochs more (`conf/labels/`).",
        *told,
    )
    counts = {one.share: _labelled(one, train_rows) for line in lines.values() for one in line}
    header = ["setting", "seeds", *(f"{percent(s)} ({counts[s]:,})" for s in shares)]
    paper.table("Test accuracy by the share of the labels (train rows).", header, rows)
    paper.figure(
        "learning_curve",
        "Test accuracy by the number of labelled train rows, mean and deviation over seeds.",
        figures.learning_curves(
            {
                name: [
                    (
                        _labelled(one, train_rows),
                        one.mean("test/accuracy"),
                        one.deviation("test/accuracy"),
                    )
                    for one in line
                ]
                for name, line in lines.items()
            }
        ),
    )
