"""The figures that are made from the results of an evaluation."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from elmo.evaluation.language_model_scores import DIRECTIONS, Group

COLOURS = dict(zip(DIRECTIONS, ("tab:blue", "tab:orange", "black"), strict=True))
MARKERS = dict(zip(DIRECTIONS, (">", "<", "o"), strict=True))
SPACIOUS = 10  # up to this number of rows, a cell has room for its count


def confusion_matrix_figure(counts: np.ndarray, names: list[str], title: str) -> Figure:
    """Draw a confusion matrix, coloured by the share of the true class or word.

    Cells show share and count; in a matrix of many words, only the share, where it is 1 % or more.

    Args:
        counts: (C true, C predicted).
    """
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    spacious = len(names) <= SPACIOUS
    # Few pixels: TensorBoard shows images small at first, and the numbers must be readable there.
    size = 1.1 + 0.75 * len(names) if spacious else 1.6 + 0.33 * len(names)
    figure = Figure(figsize=(size + 0.9, size), layout="constrained", dpi=100)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    label = "share of the true class" if spacious else "share of the true word; numbers in per cent"
    figure.colorbar(image, ax=axes, shrink=0.8, label=label)
    axes.set_xticks(range(len(names)), names, rotation=0 if spacious else 90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix, {title}")
    for (true, predicted), share in np.ndenumerate(shares):
        count = counts[true, predicted]
        text = f"{share:.1%}\n{count:,}" if spacious else f"{share:.0%}".rstrip("%")
        if spacious or text != "0":
            axes.text(
                predicted,
                true,
                text,
                ha="center",
                va="center",
                fontsize=9 if spacious else 8,
                color="white" if share > 0.5 else "black",
            )
    return figure


def perplexity_figure(groups: list[Group], axis: str, title: str) -> Figure:
    """Draw the perplexity of each direction over frequency bands or positions.

    Args:
        axis: the property by which the groups are made.
    """
    figure = Figure(figsize=(7, 4.2), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    values = np.array([group.perplexity for group in groups])  # (groups, 3)
    values[~np.isfinite(values)] = np.nan  # no targets, or a training that diverged
    for index, direction in enumerate(DIRECTIONS):
        axes.plot(
            values[:, index],
            label=direction,
            color=COLOURS[direction],
            marker=MARKERS[direction],
            linewidth=1.2,
        )
    labels = [f"{group.name}\n{group.targets[-1]:,}" for group in groups]
    axes.set_xticks(range(len(groups)), labels, fontsize=7)
    axes.set(xlabel=f"{axis}; below, targets of both directions", ylabel="perplexity")
    if not np.isnan(values).all():
        axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,g}")  # 100 instead of a power of ten
    axes.set_title(f"Perplexity by {axis}, {title}", fontsize=11)
    axes.grid(axis="y", which="both", alpha=0.25)
    axes.legend()
    return figure


def reliability_figure(
    probabilities: np.ndarray, labels: np.ndarray, bins: int, error: float, title: str
) -> Figure:
    """Draw the accuracy by the probability of the predicted class (Guo et al. 2017, figure 1).

    Args:
        probabilities: (N, C).
        labels: (N,).
        bins: the number of bins of equal width.
        error: the expected calibration error over the same bins.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    rows = np.bincount(places, minlength=bins)
    filled = rows > 0
    accuracy = np.bincount(places, right, bins)[filled] / rows[filled]
    mean = np.bincount(places, confidence, bins)[filled] / rows[filled]
    figure = Figure(figsize=(5.2, 5.6), layout="constrained", dpi=120)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle="--", label="calibrated")
    upper.plot(mean, accuracy, marker="o", label="this classifier")
    upper.set(
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=f"Calibration, {title}: ECE {error:.3f}",
    )
    upper.legend(loc="lower right")
    lower.bar((edges[:-1] + edges[1:]) / 2, rows, width=0.9 / bins)
    lower.set(xlabel="probability of the predicted class", ylabel="rows", yscale="log")
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.yaxis.set_minor_formatter(NullFormatter())
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    return figure
