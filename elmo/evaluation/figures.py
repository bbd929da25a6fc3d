"""The figures that are made from the results of an evaluation."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from elmo.evaluation.language_model_scores import DIRECTIONS, Group

COLOURS = dict(zip(DIRECTIONS, ("tab:blue", "tab:orange", "black"), strict=True))
MARKERS = dict(zip(DIRECTIONS, (">", "<", "o"), strict=True))
TITLE = "Confusion matrix"
SPACIOUS = 10  # up to this number of rows, a cell has room for its count


def rendered(figure: Figure) -> np.ndarray:
    """Return the pixels of a figure, (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


class ConfusionMatrix:
    """Draws confusion matrices of the same classes or words, coloured by the share of the true one.

    Cells show share and count; in a matrix of many words, only the share, where it is 1 % or more.
    The frame, which is laid out and drawn once, takes ten times as long as what fills it.

    Args:
        names: of the C classes or words.
    """

    def __init__(self, names: list[str]) -> None:
        self.spacious = len(names) <= SPACIOUS
        # Few pixels: TensorBoard shows images small at first, where numbers must be readable.
        size = 1.1 + 0.75 * len(names) if self.spacious else 1.6 + 0.33 * len(names)
        figure = Figure(figsize=(size + 0.9, size), layout="constrained", dpi=100)
        self.axes = figure.add_subplot()
        empty = np.zeros((len(names), len(names)))
        self._image = self.axes.imshow(empty, cmap="Blues", vmin=0, vmax=1)
        label = "share of the true "
        label += "class" if self.spacious else "word; numbers in per cent"
        figure.colorbar(self._image, ax=self.axes, shrink=0.8, label=label)
        self.axes.set_xticks(range(len(names)), names, rotation=0 if self.spacious else 90)
        self.axes.set_yticks(range(len(names)), names)
        self.axes.set(xlabel="predicted", ylabel="true", title=TITLE)
        self._filling = [self._image, *self.axes.spines.values(), self.axes.title]  # in this order
        for artist in self._filling:
            artist.set_animated(True)  # left out of the frame
        self._canvas = FigureCanvasAgg(figure)
        self._canvas.draw()
        self._frame = self._canvas.copy_from_bbox(figure.bbox)

    def draw(self, counts: np.ndarray, title: str) -> np.ndarray:
        """Return the pixels of one matrix, (height, width, 3).

        Args:
            counts: (C true, C predicted).
        """
        shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
        self._image.set_data(shares)
        self.axes.title.set_text(f"{TITLE}, {title}")
        for text in list(self.axes.texts):
            text.remove()
        for (true, predicted), share in np.ndenumerate(shares):
            count = counts[true, predicted]
            shown = f"{share:.1%}\n{count:,}" if self.spacious else f"{share:.0%}".rstrip("%")
            if self.spacious or shown != "0":
                self.axes.text(
                    predicted,
                    true,
                    shown,
                    ha="center",
                    va="center",
                    fontsize=9 if self.spacious else 8,
                    color="white" if share > 0.5 else "black",
                )
        self._canvas.restore_region(self._frame)
        for artist in (*self._filling, *self.axes.texts):
            self.axes.draw_artist(artist)
        return np.array(self._canvas.buffer_rgba())[..., :3]


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
