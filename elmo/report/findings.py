"""Sentences that state what the runs show, computed from them so that they cannot go stale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elmo.evaluation.significance import Comparison
from elmo.report.material import Classifier

LEVEL = 0.05  # below which a corrected p is called significant


def points(difference: float) -> str:
    """
    >>> points(0.0123)
    '1.23 points'
    """
    return f"{abs(100 * difference):.2f} points"


def chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def accuracy(classifier: Classifier) -> str:
    """Mean, interval and seeds of a classifier that was tested."""
    summary = classifier.summary
    assert summary is not None
    return (
        f"{summary.mean:.4f} (95 % interval {summary.low:.4f} to {summary.high:.4f}, "
        f"{seeds(summary.seeds)})"
    )


def verdict(classifiers: Sequence[Classifier], pair: Comparison) -> str:
    """Which of two is ahead, by how much, and whether that is significant."""
    one, other = classifiers[pair.one].title, classifiers[pair.other].title
    if pair.difference < 0:
        one, other = other, one
    sure = "significant" if pair.corrected < LEVEL else "not significant"
    if pair.difference == 0:
        return f"{one} and {other} are level ({chance(pair.corrected)})"
    return f"{one} is {points(pair.difference)} ahead of {other} ({chance(pair.corrected)}, {sure})"


def ranking(classifiers: Sequence[Classifier]) -> str:
    """The best by mean test accuracy among some, and how the others follow."""
    ordered = sorted(classifiers, key=lambda one: -one.mean("test/accuracy"))
    first, *others = ordered
    told = f"**{first.title}** has the highest mean test accuracy, {accuracy(first)}"
    if others:
        behind = ", ".join(
            f"{one.title} {points(first.mean('test/accuracy') - one.mean('test/accuracy'))}"
            for one in others
        )
        told += f"; behind it stand {behind}"
    return f"{told}."


def against(
    classifiers: Sequence[Classifier], pairs: Sequence[Comparison], chosen: Classifier
) -> str:
    """The verdicts of the tests of one classifier against each of the others."""
    place = list(classifiers).index(chosen)
    told = [verdict(classifiers, pair) for pair in pairs if place in (pair.one, pair.other)]
    if not told:
        return ""
    corrected = f", p corrected for {len(pairs)} tests" if len(pairs) > 1 else ""
    return f"With the probabilities of the seeds averaged{corrected}: {'; '.join(told)}."


def favourite_layer(classifier: Classifier) -> str:
    """Which layer the lambdas of a classifier put the most weight on."""
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


def carrying_layer(layers: Sequence[Classifier], best: Classifier | None) -> str:
    """Which single layer is worth the most, and what mixing adds to it."""
    ordered = sorted(layers, key=lambda one: -one.mean("val/accuracy"))
    listed = ", ".join(
        f"{one.title.removeprefix('ELMo, ')} {one.mean('test/accuracy'):.4f}" for one in ordered
    )
    told = f"Alone, in the order of their validation accuracy, the layers reach: {listed}."
    if best is not None:
        gain = best.mean("test/accuracy") - ordered[0].mean("test/accuracy")
        word = "above" if gain >= 0 else "below"
        told += f" {best.title} is {points(gain)} {word} the first of them."
    return told


def of_the_draws(lambdas: np.ndarray, accuracies: np.ndarray, beside: Classifier | None) -> str:
    """How far the draw of frozen lambdas moves the accuracy.

    Args:
        beside: a classifier that differs in its seeds without drawing lambdas.
    """
    best, worst = int(accuracies.argmax()), int(accuracies.argmin())

    def weights(index: int) -> str:
        return " ".join(f"{value:.2f}" for value in lambdas[index])

    return (
        f"Between the best draw ({weights(best)}, test accuracy {accuracies[best]:.4f}) and the "
        f"worst ({weights(worst)}, {accuracies[worst]:.4f}) lie "
        f"{points(accuracies[best] - accuracies[worst])}. Every draw comes with another seed of "
        f"the head, too: the standard deviation is {points(accuracies.std(ddof=1))}"
        + (
            f", and that of {beside.title}, which draws no lambdas, "
            f"{points(beside.deviation('test/accuracy'))}."
            if beside is not None and len(beside.setting.records) > 1
            else "."
        )
    )


def where_pretraining_pays(lines: dict[str, list[Classifier]], elmo: str, others: list[str]) -> str:
    """At each share of the labels, how far ELMo is ahead of the best of the others."""
    told = []
    for one in lines[elmo]:
        beside = [
            (other.mean("val/accuracy"), name, other.mean("test/accuracy"))
            for name in others
            for other in lines[name]
            if other.share == one.share
        ]
        gain = one.mean("test/accuracy") - max(beside)[2] if beside else float("nan")
        if not np.isnan(gain):
            word = "ahead of" if gain >= 0 else "behind"
            told.append(
                f"with {percent(one.share)} of the labels {points(gain)} {word} {max(beside)[1]}"
            )
    if not told:
        return ""
    return (
        f"{elmo} is {', '.join(told)}: mean test accuracy, each time against the best of the "
        "others on validation; the deviations over seeds stand with the learning curve."
    )


def percent(share: float) -> str:
    """
    >>> percent(0.015)
    '1.5 %'
    """
    return f"{100 * share:.3g} %"


def confused(names: Sequence[str], counts: np.ndarray, title: str) -> str:
    """The two classes that are most often taken for one another."""
    both = counts + counts.T
    np.fill_diagonal(both, 0)
    one, other = np.unravel_index(both.argmax(), both.shape)
    errors = counts.sum() - np.trace(counts)
    if not errors:
        return f"{title} makes no error."
    return (
        f"{title} most often takes {names[one]} and {names[other]} for one another: "
        f"{both[one, other] / errors:.0%} of its errors are of this pair."
    )
