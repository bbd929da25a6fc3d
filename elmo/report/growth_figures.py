"""The figures of the scaling study and of the probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator, NullFormatter

from elmo.utils import drawing

Series = tuple[str, str, np.ndarray, np.ndarray, Any]  # axis, quantity, x, y, law


def laws(panels: Mapping[str, Series]) -> bytes:
    """Draw points and the law that was fitted to all but the last, on logarithmic axes.

    Args:
        panels: by title, the axis, the quantity, x and y in the order of x, and the law, whose `at`
            gives its values.
    """
    with rc_context(drawing.STYLE):
        figure, axes_list, _ = drawing.rows_of_panels(2.2, len(panels), 2)
        for index, (axes, (axis, name, x, y, law)) in enumerate(
            zip(axes_list, panels.values(), strict=True)
        ):
            line = np.geomspace(x[0], x[-1], 60)
            colour = drawing.COLOURS[index % 8]
            axes.plot(line, law.at(line), color=colour, linestyle="--")
            axes.plot(x[:-1], y[:-1], "o", color=colour)
            axes.plot(x[-1:], y[-1:], "o", color=colour, fillstyle="none", markersize=6)
            axes.set(xlabel=axis, ylabel=name, xscale="log", yscale="log")
            thousands = x[-1] >= 10_000  # whole numbers would run into one another
            axes.set_xticks(x, [f"{v / 1000:.3g}k" if thousands else f"{v:g}" for v in x])
            axes.yaxis.set_major_locator(MaxNLocator(5))  # an axis less than a decade long
            axes.yaxis.set_major_formatter("{x:g}")
            for part in (axes.xaxis, axes.yaxis):
                part.set_minor_formatter(NullFormatter())
        return drawing.svg(figure)


def layers(
    tasks: Mapping[str, tuple[Mapping[str, Sequence[tuple[str, float, float]]], float | None]],
) -> bytes:
    """Draw the accuracy of probes by layer, one panel for each task.

    Args:
        tasks: by task, the layers, means and half intervals of each series, and the accuracy of the
            most frequent label of each word, if there is one. One layer is drawn as a line across.
    """
    with rc_context(drawing.STYLE):
        figure, panels, first = drawing.rows_of_panels(2.1, len(tasks), 3)
        handles: dict[str, Any] = {}
        for axes, (task, (series, baseline)) in zip(panels, tasks.items(), strict=True):
            places = list(dict.fromkeys(layer for s in series.values() for layer, _, _ in s))
            for index, (name, points) in enumerate(series.items()):
                style = drawing.look(index, drawing.LINES[index % 4])
                if len(points) == 1:
                    style.pop("marker")
                    handles[name] = axes.axhline(points[0][1], **style)
                    continue
                x = [places.index(layer) for layer, _, _ in points]
                middle, errors = ([p[column] for p in points] for column in (1, 2))
                handles[name] = axes.errorbar(x, middle, errors, capsize=2, **style)
            if baseline is not None:
                handles["most frequent label of the word"] = axes.axhline(
                    baseline, color="grey", linestyle=":"
                )
            axes.set_xticks(range(len(places)), places)
            axes.set(title=task, xlabel="layer")
        for axes in first:
            axes.set_ylabel("accuracy")
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=2)
        return drawing.svg(figure)
