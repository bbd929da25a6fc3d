"""Sentences that state findings, computed from the runs so that they stay true to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elmo.report.material import Classifier, Material

# What the compared settings are; `Material.comparable` has the rule.
REPRESENTATIONS = (
    "the representations (each by the setting that is best on validation; ELMo by a lambda mode on "
    "a frozen biLM, others on layers with its head and training, static vectors also with a head "
    "of their own)"
)
LAMBDA_MODES = (
    "the lambda modes (each by the setting that is best on validation of those that share head and "
    "training; frozen biLM)"
)


def points(difference: float) -> str:
    """Return the size of a difference of accuracies in percentage points.

    >>> points(0.0123)
    '1.23 points'
    """
    return f"{abs(100 * difference):.2f} points"


def seed_count(count: int) -> str:
    """Return a number of seeds in words."""
    return "one seed" if count == 1 else f"{count} seeds"


def percent(share: float) -> str:
    """Return a share as text.

    >>> percent(0.015)
    '1.5 %'
    """
    return f"{100 * share:.3g} %"


def accuracy(classifier: Classifier) -> str:
    """Return mean accuracy, interval and number of runs of a tested classifier."""
    summary = classifier.summary
    assert summary is not None
    alike = f", {summary.copies} more with the same predictions" if summary.copies else ""
    return (
        f"{summary.mean:.4f} (95 % interval {summary.low:.4f} to {summary.high:.4f}, "
        f"{seed_count(summary.runs)}{alike})"
    )


def ranking(classifiers: Sequence[Classifier], among: str) -> str:
    """Say which classifier has the highest mean test accuracy, and how far others are behind.

    Args:
        among: what the classifiers are, such as "the three lambda modes".
    """
    ordered = sorted(classifiers, key=lambda c: -c.mean("test/accuracy"))
    first, *others = ordered
    text = f"Among {among}, **{first.title}** has the highest mean test accuracy, {accuracy(first)}"
    if others:
        behind = ", ".join(
            f"{c.title} by {points(first.mean('test/accuracy') - c.mean('test/accuracy'))}"
            for c in others
        )
        text += f"; behind it are {behind}"
    return f"{text}."


def set_apart(material: Material, compared: Sequence[Classifier]) -> list[str]:
    """Say what the best of the settings reach that a comparison leaves out."""
    sentences = []
    best = material.best(material.tested)
    tuned = material.best(material.fine_tuned)
    if tuned is not None:
        also = "; it is the best of all settings on validation" if tuned is best else ""
        sentences.append(
            f"Apart from these, because its biLM is fine-tuned: **{tuned.title}** reaches a mean "
            f"test accuracy of {accuracy(tuned)}{also}."
        )
    if best is not None and best is not tuned and best not in compared:
        sentences.append(
            "Apart from these, the best of all settings on validation, other mixers and heads "
            f"included: **{best.title}** reaches a mean test accuracy of {accuracy(best)}."
        )
    return sentences


def heaviest_layer(classifier: Classifier) -> str:
    """Say which layer has the largest lambda on average, and in how many runs it has.

    Nothing where a matrix stands before each lambda: it takes over any factor, so that the lambdas
    need not say anything of the layers.
    """
    if classifier.has_matrices:
        return ""
    lambdas = classifier.lambdas
    mean = lambdas.mean(0)
    top = int(mean.argmax())
    agree = int((lambdas.argmax(1) == top).sum())
    weights = ", ".join(f"{value:.2f}" for value in mean)
    return (
        f"{classifier.title} puts the most weight on layer {top} "
        f"(mean weights of layers 0 to {len(mean) - 1}: {weights}; so do {agree} of "
        f"{len(lambdas)} runs)."
    )


def single_layers(layers: Sequence[Classifier], best_mode: Classifier | None) -> str:
    """Say what each layer reaches alone, and how far the best mode is from the best layer."""
    ordered = sorted(layers, key=lambda c: -c.mean("val/accuracy"))
    listed = ", ".join(
        f"{c.title.removeprefix('ELMo, ')} {c.mean('test/accuracy'):.4f}" for c in ordered
    )
    text = f"Alone, in the order of their validation accuracy, the layers reach: {listed}."
    if best_mode is not None:
        gain = best_mode.mean("test/accuracy") - ordered[0].mean("test/accuracy")
        word = "above" if gain >= 0 else "below"
        text += f" {best_mode.title} is {points(gain)} {word} the first of them."
    return text


def effect_of_the_draw(
    lambdas: np.ndarray, accuracies: np.ndarray, one_seed: bool, without_draw: Classifier | None
) -> str:
    """Say how far the draw of frozen lambdas moves the accuracy.

    Args:
        lambdas: (draws, L).
        accuracies: (draws,).
        one_seed: all draws are under the same seed of the head.
        without_draw: a classifier that draws no lambdas; its runs differ in their seeds.
    """
    best, worst = int(accuracies.argmax()), int(accuracies.argmin())

    def weights(index: int) -> str:
        return " ".join(f"{value:.2f}" for value in lambdas[index])

    seeds = "All have the same seed of the head" if one_seed else "Their heads differ in seed, too"
    return (
        f"Between the best draw ({weights(best)}, test accuracy {accuracies[best]:.4f}) and the "
        f"worst ({weights(worst)}, {accuracies[worst]:.4f}) lie "
        f"{points(accuracies[best] - accuracies[worst])}. {seeds}: the standard "
        f"deviation over the draws is {points(accuracies.std(ddof=1))}"
        + (
            f", and that of {without_draw.title}, which draws no lambdas, over seeds "
            f"{points(without_draw.deviation('test/accuracy'))}."
            if without_draw is not None and len(without_draw.setting.records) > 1
            else "."
        )
    )


def gain_by_share(curves: dict[str, list[Classifier]], elmo: str, others: list[str]) -> str:
    """Say how far ELMo is ahead of the best of the others at each share of the labels.

    Args:
        curves: the learning curves by title.
        elmo: the title of the curve of ELMo.
        others: the titles of the curves that it is compared with.
    """
    gains = []
    for classifier in curves[elmo]:
        rivals = [
            (rival.mean("val/accuracy"), title, rival.mean("test/accuracy"))
            for title in others
            for rival in curves[title]
            if rival.share == classifier.share
        ]
        gain = classifier.mean("test/accuracy") - max(rivals)[2] if rivals else float("nan")
        if not np.isnan(gain):
            word = "ahead of" if gain >= 0 else "behind"
            share = percent(classifier.share)
            gains.append(f"with {share} of the labels {points(gain)} {word} {max(rivals)[1]}")
    if not gains:
        return ""
    return (
        f"{elmo} is {', '.join(gains)}: mean test accuracy, each time against the best of the "
        "others on validation; the section on the learning curve shows the deviations over seeds."
    )


def confused_classes(names: Sequence[str], counts: np.ndarray, title: str) -> str:
    """Say which two classes a classifier confuses most often."""
    both = counts + counts.T
    np.fill_diagonal(both, 0)
    one, other = np.unravel_index(both.argmax(), both.shape)
    errors = counts.sum() - np.trace(counts)
    if not errors:
        return f"{title} makes no error."
    return (
        f"{title} most often confuses {names[one]} and {names[other]} with one another: "
        f"{both[one, other] / errors:.0%} of its errors are of this pair."
    )
