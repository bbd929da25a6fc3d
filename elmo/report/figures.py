"""The figures of a report as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill, shorten
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from elmo.utils import drawing


def pretraining(curves: Mapping[str, Mapping[str, drawing.Points]]) -> bytes:
    """Draw the perplexity of each biLM by epoch, in a panel of its own.

    Args:
        curves: the steps and values of each biLM, by split.
    """
    with rc_context(drawing.STYLE):
        figure, panels, first = drawing.rows_of_panels(2.3, len(curves), 3, sharey=True)
        for axes, (name, splits) in zip(panels, curves.items(), strict=True):
            for index, (split, line) in enumerate((("train", "--"), ("validation", "-"))):
                values = splits[split][:, 1]
                epochs = np.arange(1, len(values) + 1)
                axes.plot(epochs, values, label=split, **drawing.look(index, line))
            axes.annotate(  # of validation, the last that was drawn
                f"{values[-1]:.1f}",
                (epochs[-1], values[-1]),
                (0, 5),
                textcoords="offset points",
                ha="right",
                color=drawing.COLOURS[1],
            )
            axes.set(xlabel="epoch", yscale="log", title=name if len(curves) > 1 else "")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axes.yaxis.set_major_formatter("{x:,g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        for axes in first:
            axes.set_ylabel("perplexity")
        panels[0].legend()
        return drawing.svg(figure)


def frequencies(groups: Mapping[str, Mapping[str, float]]) -> bytes:
    """Draw the perplexity by the frequency rank of the target.

    Args:
        groups: by split, the perplexity of each group in which the split has targets.
    """
    with rc_context(drawing.STYLE):
        figure, (axes,) = drawing.row_of_panels(2.2)
        names = max((list(values) for values in groups.values()), key=len)
        series = {
            split: [values.get(name, np.nan) for name in names] for split, values in groups.items()
        }
        drawing.bars(axes, [fill(name, 9) for name in names], series)
        axes.set(xlabel="frequency rank of the word", ylabel="perplexity", yscale="log")
        axes.set_ylim(bottom=1)
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend()
        return drawing.svg(figure)


def intervals(rows: Sequence[tuple[str, float, float, float, Sequence[float]]]) -> bytes:
    """Draw the accuracy of each setting with its interval, and each seed as a small mark.

    Args:
        rows: title, mean, low and high end of the interval, accuracy of each seed; the best first.
    """
    with rc_context(drawing.STYLE):
        figure, (axes,) = drawing.row_of_panels(0.7 + 0.19 * len(rows))
        for place, (_, mean, low, high, seeds) in enumerate(rows):
            axes.plot([low, high], [place, place], color=drawing.COLOURS[0], linewidth=1.4)
            places = [place] * len(seeds)
            axes.plot(seeds, places, "|", color=drawing.COLOURS[1], markersize=5, zorder=3)
            axes.plot(mean, place, "o", color=drawing.COLOURS[0], markersize=4.5)
        axes.set_yticks(range(len(rows)), [shorten(row[0], 52, placeholder="...") for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set(xlabel="test accuracy: mean over seeds, 95 % interval; bars are seeds")
        axes.grid(axis="y", visible=False)
        return drawing.svg(figure)


def lambda_curves(runs: Mapping[str, Sequence[Mapping[str, drawing.Points]]]) -> bytes:
    """Draw the lambdas in the course of training: one panel per mode, one line per seed and layer.

    Args:
        runs: by setting, the curves of each seed, by layer.
    """
    with rc_context(drawing.STYLE):
        figure, panels = drawing.row_of_panels(
            2.3, len(runs)
        )  # not one scale: some lambdas hardly move
        for axes, (title, seeds) in zip(panels, runs.items(), strict=True):
            axes.axhline(1 / len(seeds[0]), 0, 0.69, color="grey", linestyle=":", linewidth=0.8)
            ends = {}
            for index, layer in enumerate(sorted(seeds[0])):
                line: dict[str, Any] = {
                    "color": drawing.COLOURS[index % 8],
                    "linestyle": drawing.LINES[index % 4],
                }
                for curves in seeds:
                    axes.plot(curves[layer][:, 0], curves[layer][:, 1], alpha=0.6, **line)
                ends[layer] = float(np.mean([curves[layer][-1, 1] for curves in seeds]))
            low, high = axes.get_ylim()
            distance = (high - low) / 9
            places = _apart(list(ends.values()), distance)
            axes.set_ylim(min(low, min(places) - distance / 2), max(high, max(places)))
            last = max(curves[layer][-1, 0] for curves in seeds for layer in curves)
            for index, (place, (layer, end)) in enumerate(zip(places, ends.items(), strict=True)):
                axes.annotate(
                    f"layer {layer}: {end:.2f}",
                    (1.03 * last, place),
                    color=drawing.COLOURS[index % 8],
                    va="center",
                )
            axes.set(title=title, xlabel="step", xlim=(0, 1.45 * last))
            axes.set_xticks([tick for tick in axes.get_xticks() if tick <= last])
        panels[0].set_ylabel("lambda")
        return drawing.svg(figure)


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """Return places near some values that are at least a distance apart, around their middle."""
    order = np.argsort(values, kind="stable")
    places = np.array(values, dtype=float)
    for lower, upper in pairwise(order):
        places[upper] = max(places[upper], places[lower] + distance)
    return (places - (places.mean() - np.mean(values))).tolist()


def draws(lambdas: np.ndarray, accuracies: np.ndarray) -> bytes:
    """Draw the accuracy of frozen lambdas against the weight that the draw gave to each layer.

    Args:
        lambdas: (draws, L).
        accuracies: (draws,).
    """
    with rc_context(drawing.STYLE):
        figure, panels = drawing.row_of_panels(2.1, lambdas.shape[1], sharey=True)
        for layer, axes in enumerate(panels):
            axes.plot(lambdas[:, layer], accuracies, **drawing.look(layer, ""))
            axes.set(xlabel=f"weight of layer {layer}", xlim=(0, 1))
        panels[0].set_ylabel("test accuracy")
        return drawing.svg(figure)


def learning_curves(curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> bytes:
    """Draw the accuracy by the number of labels; the settings stand beside each other.

    Args:
        curves: by setting, the labelled rows and the mean and standard deviation of the accuracy.
    """
    with rc_context(drawing.STYLE):
        figure, (axes,) = drawing.row_of_panels(3.6)
        for index, (name, points) in enumerate(curves.items()):
            rows, means, deviations = np.array(points).T
            beside = rows * 1.05 ** (index - (len(curves) - 1) / 2)  # the axis is logarithmic
            line = drawing.look(index, drawing.LINES[index % 4])
            errors = np.nan_to_num(deviations)
            axes.errorbar(beside, means, errors, label=name, capsize=2, alpha=0.85, **line)
        axes.set(xlabel="labelled train rows", ylabel="test accuracy", xscale="log")
        axes.xaxis.set_major_formatter("{x:,g}")
        ticks = sorted({point[0] for points in curves.values() for point in points})
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_formatter(NullFormatter())
        figure.legend(loc="outside lower center", ncols=2)
        return drawing.svg(figure)


def shifts(splits: Mapping[str, Mapping[str, tuple[float, float, float, float]]]) -> bytes:
    """Draw the accuracy on the validation and the test rows of several splits of a corpus.

    Args:
        splits: by split and setting, the validation accuracy, the test accuracy and the ends of its
            interval.
    """
    with rc_context(drawing.STYLE):
        names = list(dict.fromkeys(name for settings in splits.values() for name in settings))
        figure, (axes,) = drawing.row_of_panels(0.8 + len(splits) * (0.14 + 0.11 * len(names)))
        marks: dict[str, Any] = {}
        width = 0.7 / len(names)
        for row, settings in enumerate(splits.values()):
            for name, (validation, test, low, high) in settings.items():
                index = names.index(name)
                place = row + (index - (len(names) - 1) / 2) * width
                look: dict[str, Any] = {
                    "color": drawing.COLOURS[index % 8],
                    "marker": drawing.MARKERS[index % 8],
                }
                axes.plot(validation, place, fillstyle="none", linestyle="", **look)
                axes.plot(
                    [low, high], [place, place], color=drawing.COLOURS[index % 8], linewidth=1.4
                )
                (mark,) = axes.plot(test, place, linestyle="", **look)
                marks.setdefault(name, mark)
        axes.set_yticks(range(len(splits)), [fill(name, 34) for name in splits])
        axes.set_ylim(len(splits) - 0.4, -0.6)
        axes.set(xlabel="accuracy")
        axes.grid(axis="y", visible=False)
        figure.legend(marks.values(), marks, loc="outside upper center", ncols=len(names))
        return drawing.svg(figure)


def by_group(panels: Mapping[str, tuple[Sequence[str], Mapping[str, Sequence[float]]]]) -> bytes:
    """Draw the share of errors of some settings in groups of rows, as bars that begin at 0.

    Args:
        panels: by axis, the names of its groups and, by setting, the accuracy in each group.
    """
    with rc_context(drawing.STYLE):
        figure, axes_list, _ = drawing.rows_of_panels(1.9, len(panels), 1, sharey=True)
        for axes, (axis, (groups, accuracies)) in zip(axes_list, panels.items(), strict=True):
            wrong = {
                name: [100 * (1 - accuracy) for accuracy in values]
                for name, values in accuracies.items()
            }
            drawing.bars(axes, groups, wrong)
            axes.set(xlabel=axis, ylabel="errors in %")
        handles = axes_list[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=2)
        return drawing.svg(figure)


def reliability(bins: Mapping[str, tuple[np.ndarray, np.ndarray]], chance: float) -> bytes:
    """Draw the accuracy by the probability of the predicted class (Guo et al. 2017, figure 1).

    Args:
        bins: by setting, the mean probability and the accuracy in each bin.
        chance: 1/C, the lowest probability that a predicted class can have.
    """
    with rc_context(drawing.STYLE):
        figure, panels, first = drawing.rows_of_panels(2.1, len(bins), 4, sharex=True, sharey=True)
        for index, (axes, (name, (confidence, accuracy))) in enumerate(
            zip(panels, bins.items(), strict=True)
        ):
            axes.plot([chance, 1], [chance, 1], color="grey", linestyle=":")
            axes.plot(confidence, accuracy, **drawing.look(index))
            axes.set(title=fill(name, 22), xlim=(chance, 1.02))
        figure.supxlabel("probability of the predicted class", fontsize=drawing.STYLE["font.size"])
        for axes in first:
            axes.set_ylabel("accuracy")
        return drawing.svg(figure)


def class_shares(counts: np.ndarray) -> np.ndarray:
    """Return a confusion matrix as shares of the true class (C true, C predicted)."""
    return counts / np.maximum(1, counts.sum(1, keepdims=True))


def confusions(settings: Mapping[str, Mapping[str, np.ndarray]], names: Sequence[str]) -> bytes:
    """Draw confusion matrices, one row per setting, coloured by share of the true class.

    Args:
        settings: by setting, counts (C true, C predicted) by split.
    """
    with rc_context({**drawing.STYLE, "axes.grid": False}):
        columns = len(next(iter(settings.values())))
        height = 0.36 + 0.235 * len(names)
        figure, panels, _ = drawing.rows_of_panels(
            height, columns * len(settings), columns, sharex=True
        )
        parts = [(title, *part) for title, splits in settings.items() for part in splits.items()]
        for axes, (title, split, counts) in zip(panels, parts, strict=True):
            shares = class_shares(counts)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(len(names)), names)
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(length=0)
            axes.set_title(f"{title}: {split}")
            for (true, predicted), share in np.ndenumerate(shares):
                colour = "white" if share > 0.5 else "black"
                axes.annotate(
                    f"{100 * share:.1f}",
                    (predicted, true),
                    color=colour,
                    fontsize=9,
                    ha="center",
                    va="center",
                )
        return drawing.svg(figure)


def word_confusions(places: Mapping[str, np.ndarray], names: Sequence[str]) -> bytes:
    """Draw confusion matrices of words side by side, coloured by share of the true word.

    Args:
        places: by title, counts (K + 1 true, K + 1 predicted).
        names: of the words, and of all others.
    """
    with rc_context({**drawing.STYLE, "axes.grid": False}):
        height = 1.0 + 0.17 * len(names)
        figure, panels = drawing.row_of_panels(height, len(places), sharey=True)
        for axes, (title, counts) in zip(panels, places.items(), strict=True):
            shares = class_shares(counts)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(len(names)), names, rotation=90)
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(length=0)
            axes.set_title(title)
            for (true, predicted), share in np.ndenumerate(shares):
                if share >= 0.05:
                    colour = "white" if share > 0.5 else "black"
                    place = (predicted, true)
                    middle: dict[str, Any] = {"ha": "center", "va": "center"}
                    axes.annotate(f"{100 * share:.0f}", place, color=colour, fontsize=6.5, **middle)
        return drawing.svg(figure)
