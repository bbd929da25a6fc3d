"""Sentences that state what the runs show, computed from them so that they cannot go stale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elmo.report.collect import Classifier
from elmo.significance import Comparison

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
    return (
        "With the probabilities of all seeds averaged: "
        + "; ".join(told)
        + (f". p is corrected for {len(pairs)} tests." if len(pairs) > 1 else ".")
    )


def favourite_layer(classifier: Classifier) -> str:
    """Which layer the lambdas of a classifier put the most weight on."""
    lambdas = classifier.lambdas
    mean = lambdas.mean(0)
    top = int(mean.argmax())
    agree = int((lambdas.argmax(1) == top).sum())
    weights = ", ".join(f"{value:.2f}" for value in mean)
    return (
        f"{classifier.title} puts the most weight on layer {top} "
        f"(mean weights of layers 0 to {len(mean) - 1}: {weights}; the same layer in {agree} of "
        f"{seeds(len(lambdas))})."
    )


def carrying_layer(layers: Sequence[Classifier], best: Classifier | None) -> str:
    """Which single layer is worth the most, and what mixing adds to it."""
    ordered = sorted(layers, key=lambda one: -one.mean("val/accuracy"))
    listed = ", ".join(f"{one.title} {one.mean('test/accuracy'):.4f}" for one in ordered)
    told = f"Taken alone, the layers reach in the order of their validation accuracy: {listed}."
    if best is not None:
        gain = best.mean("test/accuracy") - ordered[0].mean("test/accuracy")
        word = "above" if gain >= 0 else "below"
        told += f" {best.title} is {points(gain)} {word} the first of them."
    return told


def of_the_draws(lambdas: np.ndarray, accuracies: np.ndarray) -> str:
    """How far the draw of frozen lambdas moves the accuracy."""
    best, worst = int(accuracies.argmax()), int(accuracies.argmin())

    def weights(index: int) -> str:
        return " ".join(f"{value:.2f}" for value in lambdas[index])

    return (
        f"Between the best draw ({weights(best)}, test accuracy {accuracies[best]:.4f}) and the "
        f"worst ({weights(worst)}, {accuracies[worst]:.4f}) lie "
        f"{points(accuracies[best] - accuracies[worst])}."
    )


def where_pretraining_pays(lines: dict[str, list[Classifier]], elmo: str, others: list[str]) -> str:
    """At each share of the labels, how far ELMo is ahead of the best of the others."""
    told = []
    for one in lines[elmo]:
        beside = [
            (other.mean("test/accuracy"), name)
            for name in others
            for other in lines[name]
            if other.share == one.share
        ]
        if beside:
            best, name = max(beside)
            gain = one.mean("test/accuracy") - best
            word = "ahead of" if gain >= 0 else "behind"
            told.append(f"{points(gain)} {word} {name} at {one.share:.0%} of the labels")
    return f"{elmo} is {', '.join(told)} (each time the best of the others)." if told else ""


def confused(names: Sequence[str], counts: np.ndarray, title: str) -> str:
    """The two classes that are most often taken for one another."""
    both = counts + counts.T
    np.fill_diagonal(both, 0)
    one, other = np.unravel_index(both.argmax(), both.shape)
    errors = counts.sum() - np.trace(counts)
    return (
        f"{title} most often takes {names[one]} and {names[other]} for one another: "
        f"{both[one, other] / errors:.0%} of its errors are of this pair."
    )
