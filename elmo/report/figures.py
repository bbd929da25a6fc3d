"""The figures of a report as SVG: one width, one typeface, colours that differ in grey as well."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

WIDTH = 6.3  # inches, the width of the text
COLOURS = ("#1b4f8a", "#d1731e", "#3b8f5a", "#8a3b6e", "#6b6b6b", "#b59a1c", "#4aa3b8", "#a33b3b")
MARKERS = "osD^vPX<"
STYLE: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "svg.hashsalt": "elmo",  # the same figure gives the same bytes
}

Points = np.ndarray  # (N, 2), x and y


def _svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _style(index: int, line: str = "-") -> dict[str, Any]:
    return {"color": COLOURS[index % 8], "marker": MARKERS[index % 8], "linestyle": line}


def _figure(height: float, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **options)
    return figure, list(axes[0])


def pretraining(curves: Mapping[str, Mapping[str, Points]]) -> bytes:
    """Draw the perplexity of each biLM by epoch.

    Args:
        curves: the steps and values of each biLM, by split.
    """
    with rc_context(STYLE):
        figure, (axes,) = _figure(2.5)
        for colour, (name, splits) in zip(COLOURS, curves.items(), strict=False):
            for split, line in (("train", "--"), ("validation", "-")):
                points = splits[split]
                epochs = np.arange(1, len(points) + 1)
                label = f"{name}, {split}" if len(curves) > 1 else split
                axes.plot(epochs, points[:, 1], line, color=colour, marker="o", label=label)
        axes.set(xlabel="epoch", ylabel="perplexity", yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend()
        return _svg(figure)


def frequencies(groups: Mapping[str, Mapping[str, float]]) -> bytes:
    """Draw the perplexity by the frequency rank of the target.

    Args:
        groups: by split, the perplexity of each group in which the split has targets.
    """
    with rc_context(STYLE):
        figure, (axes,) = _figure(2.4)
        names = max((list(values) for values in groups.values()), key=len)
        for index, (split, values) in enumerate(groups.items()):
            axes.plot([values.get(name, np.nan) for name in names], label=split, **_style(index))
        axes.set_xticks(range(len(names)), names, fontsize=7.5)
        axes.set(xlabel="frequency rank of the word", ylabel="perplexity", yscale="log")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend()
        return _svg(figure)


def intervals(rows: Sequence[tuple[str, float, float, float, Sequence[float]]]) -> bytes:
    """Draw the accuracy of each setting with its interval, and each seed as a small mark.

    Args:
        rows: title, mean, low and high end of the interval, accuracy of each seed; the best first.
    """
    with rc_context(STYLE):
        figure, (axes,) = _figure(0.7 + 0.235 * len(rows))
        for place, (_, mean, low, high, seeds) in enumerate(rows):
            axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=1.4)
            places = [place] * len(seeds)
            axes.plot(seeds, places, "|", color=COLOURS[1], markersize=5, zorder=3)
            axes.plot(mean, place, "o", color=COLOURS[0], markersize=4.5)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set(xlabel="test accuracy: mean over seeds, 95 % interval; bars are seeds")
        axes.grid(axis="y", visible=False)
        return _svg(figure)


def lambda_curves(runs: Mapping[str, Sequence[Mapping[str, Points]]]) -> bytes:
    """Draw the lambdas in the course of training: one panel per mode, one line per seed and layer.

    Args:
        runs: by mode, the curves of each seed, by layer.
    """
    with rc_context(STYLE):
        figure, panels = _figure(2.3, len(runs), sharey=True)
        for axes, (mode, seeds) in zip(panels, runs.items(), strict=True):
            for number, layers in enumerate(seeds):
                for index, (layer, points) in enumerate(sorted(layers.items())):
                    label = f"layer {layer}" if not number else None
                    axes.plot(points[:, 0], points[:, 1], color=COLOURS[index], alpha=0.6)
                    axes.plot([], [], color=COLOURS[index], label=label)
            axes.set(title=mode, xlabel="step", ylim=(0, 1))
        panels[0].set_ylabel("lambda")
        panels[0].legend(fontsize=8)
        return _svg(figure)


def draws(lambdas: np.ndarray, accuracies: np.ndarray) -> bytes:
    """Draw the accuracy of frozen lambdas against the weight that the draw gave to each layer.

    Args:
        lambdas: (draws, L).
        accuracies: (draws,).
    """
    with rc_context(STYLE):
        figure, panels = _figure(2.1, lambdas.shape[1], sharey=True)
        for layer, axes in enumerate(panels):
            axes.plot(lambdas[:, layer], accuracies, **_style(layer, ""))
            axes.set(xlabel=f"weight of layer {layer}", xlim=(0, 1))
        panels[0].set_ylabel("test accuracy")
        return _svg(figure)


def learning_curves(curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> bytes:
    """Draw the accuracy by the number of labels.

    Args:
        curves: by setting, the labelled rows and the mean and standard deviation of the accuracy.
    """
    with rc_context(STYLE):
        figure, (axes,) = _figure(3.0)
        for index, (name, points) in enumerate(curves.items()):
            rows, means, deviations = np.array(points).T
            axes.errorbar(
                rows, means, np.nan_to_num(deviations), label=name, capsize=2, **_style(index)
            )
        axes.set(xlabel="labelled train rows", ylabel="test accuracy", xscale="log")
        axes.xaxis.set_major_formatter("{x:,g}")
        ticks = sorted({point[0] for points in curves.values() for point in points})
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=8)
        return _svg(figure)


def by_group(panels: Mapping[str, tuple[Sequence[str], Mapping[str, Sequence[float]]]]) -> bytes:
    """Draw the accuracy of some settings over groups of rows.

    Args:
        panels: by axis, the names of its groups and, by setting, the accuracy in each group.
    """
    with rc_context(STYLE):
        figure, axes_list = _figure(2.6, len(panels), sharey=True)
        for axes, (axis, (groups, lines)) in zip(axes_list, panels.items(), strict=True):
            for index, (name, values) in enumerate(lines.items()):
                axes.plot(values, label=name, **_style(index))
            axes.set_xticks(range(len(groups)), groups, fontsize=7.5)
            axes.set(xlabel=axis)
        axes_list[0].set_ylabel("test accuracy")
        figure.legend(
            *axes_list[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
        )
        return _svg(figure)


def reliability(bins: Mapping[str, tuple[np.ndarray, np.ndarray]], chance: float) -> bytes:
    """Draw the accuracy by the probability of the predicted class (Guo et al. 2017, figure 1).

    Args:
        bins: by setting, the mean probability and the accuracy in each bin.
        chance: 1/C, the lowest probability that a predicted class can have.
    """
    with rc_context(STYLE):
        figure, (axes,) = _figure(2.9)
        axes.plot([chance, 1], [chance, 1], color="grey", linestyle=":", label="calibrated")
        for index, (name, (confidence, accuracy)) in enumerate(bins.items()):
            axes.plot(confidence, accuracy, label=name, **_style(index))
        axes.set(
            xlabel="probability of the predicted class", ylabel="accuracy", xlim=(chance, 1.01)
        )
        axes.legend(fontsize=8)
        return _svg(figure)


def confusions(matrices: Mapping[str, np.ndarray], names: Sequence[str]) -> bytes:
    """Draw confusion matrices of one setting side by side, coloured by share of the true class.

    Args:
        matrices: counts (C true, C predicted) by split.
    """
    with rc_context({**STYLE, "axes.grid": False}):
        figure, panels = _figure(1.05 + 0.36 * len(names), len(matrices))
        for axes, (split, counts) in zip(panels, matrices.items(), strict=True):
            shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(len(names)), names)
            axes.set_yticks(range(len(names)), names)
            axes.set(xlabel="predicted", title=split)
            for (true, predicted), share in np.ndenumerate(shares):
                colour = "white" if share > 0.5 else "black"
                place = (predicted, true)
                axes.annotate(
                    f"{share:.1%}", place, color=colour, fontsize=8, ha="center", va="center"
                )
        panels[0].set_ylabel("true")
        return _svg(figure)
