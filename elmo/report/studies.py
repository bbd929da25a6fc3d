"""The sections on the lambdas, on single layers and on the number of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elmo.report import figures
from elmo.report.collect import read_curves
from elmo.report.findings import (
    LAMBDA_MODES,
    effect_of_the_draw,
    gain_by_share,
    heaviest_layer,
    percent,
    points,
    ranking,
    seed_count,
    single_layers,
)
from elmo.report.material import MODES, Classifier, Material
from elmo.report.pairs import HEADER, paired_tests
from elmo.report.writing import Manuscript, number, with_deviation


def lambdas(material: Material, paper: Manuscript) -> None:
    """Write the section on the lambda modes."""
    best = material.best_of_modes()
    if not best:
        paper.leave_out(
            "The role of the lambdas",
            "there is no tested run of `train_cls.py mixer=trainable,frozen,learned`",
        )
        return
    paper.heading("The role of the lambdas")
    if len(best) > 1:
        tests = paired_tests(material, best)
        first = max(range(len(best)), key=lambda place: best[place].mean("val/accuracy"))
        paper.paragraph(ranking(best, LAMBDA_MODES), tests.against(first))
        paper.table(
            "The lambda modes in pairs: means of single models, averaged models.",
            HEADER,
            tests.rows(),
        )
    trained = [c for c in best if c.choices["mixer"] != "frozen"]
    paper.paragraph(*map(heaviest_layer, trained), _behind_matrices(best))
    every = [
        c
        for c in material.tested
        if c.is_elmo and not c.is_finetuned and c.choices["mixer"] in MODES
    ]
    rows = []
    count = max(c.lambdas.shape[1] for c in every)  # biLMs may have different numbers of layers
    for classifier in every:
        gammas = np.array([record["gamma"] for record in classifier.setting.records])
        weights = zip(
            classifier.lambdas.mean(0), _sample_deviation(classifier.lambdas), strict=True
        )
        cells = [with_deviation(mean, deviation, 2) for mean, deviation in weights]
        accuracies = classifier.mean("test/accuracy"), classifier.deviation("test/accuracy")
        rows.append(
            [
                classifier.title,
                str(len(gammas)),
                *(cells + [""] * count)[:count],
                with_deviation(float(gammas.mean()), float(_sample_deviation(gammas)), 2),
                with_deviation(*accuracies),
            ]
        )
    header = ["setting", "seeds", *(f"layer {layer}" for layer in range(count))]
    paper.table(
        "Weights of the layers, mean and deviation over seeds; where they are learned, the mean "
        "gates over the validation rows. Frozen lambdas are another draw in each run.",
        [*header, "gamma", "test acc."],
        rows,
    )
    _trajectories([c for c in trained if not c.has_matrices], paper)
    _draws(material, paper)
    _gamma(every, paper)


def _behind_matrices(settings: Sequence[Classifier]) -> str:
    """Say why the lambdas of some settings are in the table, and are no finding."""
    titles = [c.title for c in settings if c.has_matrices]
    if not titles:
        return ""
    return (
        f"The lambdas of {', '.join(titles)} are in the table only: each layer is multiplied by a "
        "learned matrix first, which can take over any factor, so that its lambda need not say how "
        "much of the layer is used."
    )


def _sample_deviation(values: np.ndarray) -> np.ndarray:
    """Return the sample deviation over the first axis; NaN for one value."""
    return values.std(0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)


def _trajectories(trained: Sequence[Classifier], paper: Manuscript) -> None:
    if not trained:
        reason = "no lambdas were learned without matrices in front of them"
        paper.leave_out("Lambdas in the course of training", reason)
        return
    runs = {}
    for classifier in trained:
        curves = [
            {
                tag.removeprefix("lambda/"): curve
                for tag, curve in read_curves(folder).items()
                if tag.removeprefix("lambda/").isdigit()
            }
            for folder in classifier.setting.folders
        ]
        if kept := [layers for layers in curves if layers]:
            runs[classifier.title] = kept
    if runs:
        paper.figure(
            "lambdas",
            "Lambdas in the course of the training, one line per seed, each panel on its own "
            "scale; the dotted line is 1/L. Where they are learned: the mean gates of the epoch so "
            "far. The numbers are the means at the end.",
            figures.lambda_curves(runs),
        )
    else:
        paper.leave_out("Lambdas in the course of training", "the runs have no `tables/curves.csv`")


def _draws(material: Material, paper: Manuscript) -> None:
    frozen = material.best_of_mode("frozen")
    if frozen and frozen.has_matrices:
        reason = "a matrix for each layer makes up for its draw"
        paper.leave_out("Accuracy against the draw of frozen lambdas", reason)
        return
    records = frozen.setting.records if frozen else []
    drawn = [(record["lambdas"], record["metrics"]["test/accuracy"]) for record in records]
    if len({str(weights) for weights, _ in drawn}) < 3:
        paper.leave_out("Accuracy against the draw of frozen lambdas", "it needs three draws")
        return
    weights, accuracies = (np.array(values) for values in zip(*drawn, strict=True))
    one_seed = len({record["settings"].get("seed") for record in records}) == 1
    trained = material.best_of_mode("trainable")
    paper.paragraph(effect_of_the_draw(weights, accuracies, one_seed, trained))
    paper.figure(
        "draws",
        "Frozen lambdas: test accuracy of each run against the weight that its draw gave to each "
        "layer.",
        figures.draws(weights, accuracies),
    )


def _gamma(every: Sequence[Classifier], paper: Manuscript) -> None:
    """Compare settings that differ only in `learn_gamma`, by the seeds that both have."""
    pairs: dict[str, dict[bool, Classifier]] = {}
    for classifier in every:
        plain = classifier.plain
        learned = plain.pop("mixer.learn_gamma", None)
        rest = dict(sorted(plain.items()))
        if learned is not None:
            pairs.setdefault(f"{classifier.choices['mixer']} {rest}", {})[learned] = classifier
    effects = []
    for pair in pairs.values():
        if pair.keys() != {True, False}:
            continue
        on, off = (pair[learned].by_seed("test/accuracy") for learned in (True, False))
        if shared := sorted(on.keys() & off.keys()):
            gains = np.array([on[seed] - off[seed] for seed in shared])
            word = "more" if gains.mean() >= 0 else "less"
            spread = f", deviation {points(gains.std(ddof=1))}" if len(gains) > 1 else ""
            label = min((c.title for c in pair.values()), key=len)
            effects.append(
                f"{points(gains.mean())} {word} with {label} ({seed_count(len(shared))}{spread})"
            )
    if effects:
        paper.paragraph(
            f"A learned gamma gives, against gamma = 1, {'; '.join(effects)}: mean test accuracy "
            "over the seeds that both have."
        )
    else:
        paper.leave_out("Gamma on and off", "it needs runs with `mixer.learn_gamma` true and false")


def layers(material: Material, paper: Manuscript) -> None:
    """Write the section that compares single layers and other mixers with the best lambda mode."""
    elmo = [c for c in material.comparable if c.is_elmo]
    single = [c for c in elmo if c.choices["mixer"] == "layer"]
    if len(single) < 2:
        paper.leave_out(
            "What each layer is worth", "no tested runs of `mixer=layer mixer.layer=0,1,2`"
        )
        return
    paper.heading("What each layer is worth")
    best = material.best(material.best_of_modes())
    first = best or max(single, key=lambda c: c.mean("val/accuracy"))
    rest = [c for c in elmo if c.choices["mixer"] not in MODES and c is not first]
    chosen = [first, *sorted(rest, key=lambda c: c.title)]
    tests = paired_tests(material, chosen, first=True)
    paper.paragraph(
        single_layers(single, best),
        f"The table compares {first.title} with each of the others, by the same tests as above, "
        f"corrected for {len(chosen) - 1}.",
        tests.against(0),
    )
    cells = [[""] * len(HEADER[2:]), *(row[2:] for row in tests.rows())]
    rows = [
        [c.title, str(len(c.setting.records)), number(c.mean("test/accuracy")), *test]
        for c, test in zip(chosen, cells, strict=True)
    ]
    paper.table(
        f"Layers and mixers: {first.title} against the setting of each row, in points.",
        ["setting", "seeds", "test acc.", *HEADER[2:]],
        rows,
    )


def learning_curve(material: Material, paper: Manuscript) -> None:
    """Write the section on classifiers that were trained with fewer labels."""
    curves = material.learning_curves
    for classifier in material.single_shares:
        title = f"{classifier.title} with {percent(classifier.share)} of the labels"
        paper.leave_out(title, "there are no runs with another share of the labels")
    if not curves:
        paper.leave_out(
            "Learning curve", "no setting was trained with several shares of the labels"
        )
        return
    paper.heading("Learning curve")
    train_rows = material.data["train_rows"]
    labelled = {
        c.share: c.setting.records[0]["data"].get("labelled_rows", round(train_rows * c.share))
        for curve in curves.values()
        for c in curve
    }
    shares = sorted(labelled)
    rows = []
    for name, curve in curves.items():
        by_share = {c.share: c for c in curve}
        cells = [
            with_deviation(c.mean("test/accuracy"), c.deviation("test/accuracy"))
            if (c := by_share.get(share))
            else ""
            for share in shares
        ]
        seeds = sorted({len(c.setting.records) for c in curve})
        rows.append([name, " to ".join(map(str, seeds)), *cells])
    elmo = [name for name, curve in curves.items() if curve[0].is_elmo]
    others = [name for name in curves if name not in elmo]
    paper.paragraph(
        "The same classifiers with fewer labels; the biLM, the vectors and the counts of words are "
        "those of all train descriptions in every case. Every seed draws other labelled rows. With "
        "fewer labels the batches are smaller and the epochs more (`conf/labels/`).",
        *(gain_by_share(curves, name, others) for name in elmo),
    )
    header = ["setting", "seeds", *(f"{percent(s)} ({labelled[s]:,})" for s in shares)]
    paper.table("Test accuracy by the share of the labels (train rows).", header, rows)
    paper.figure(
        "learning_curve",
        "Test accuracy by the number of labelled train rows, mean and deviation over seeds.",
        figures.learning_curves(
            {
                name: [
                    (labelled[c.share], c.mean("test/accuracy"), c.deviation("test/accuracy"))
                    for c in curve
                ]
                for name, curve in curves.items()
            }
        ),
    )
