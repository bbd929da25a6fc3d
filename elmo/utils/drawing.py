"""What all figures share: one width, one typeface, colours that differ in grey as well."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 6.3  # inches, the width of the text: a figure is shown as large as it is drawn
COLOURS = ("#1b4f8a", "#d1731e", "#3b8f5a", "#8a3b6e", "#6b6b6b", "#b59a1c", "#4aa3b8", "#a33b3b")
MARKERS = "osD^vPX<"
LINES = ("-", "--", "-.", ":")
STYLE: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "svg.hashsalt": "elmo",  # the same figure gives the same bytes
}

Points = np.ndarray  # (N, 2), x and y


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG; the same figure gives the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def look(index: int, line: str = "-") -> dict[str, Any]:
    """Return colour, marker and line of a series."""
    return {"color": COLOURS[index % 8], "marker": MARKERS[index % 8], "linestyle": line}


def row_of_panels(height: float, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of some panels side by side, and the panels."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **options)
    return figure, list(axes[0])


def rows_of_panels(
    height: float, count: int, columns: int, **options: Any
) -> tuple[Figure, list[Axes], list[Axes]]:
    """Return a figure of some panels in rows, the panels, and those that begin a row.

    Args:
        height: of one row, in inches.
        columns: panels in a row, where there are as many.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    for empty in panels.flat[count:]:
        empty.set_visible(False)
    return figure, list(panels.flat[:count]), list(panels[:, 0])


def bars(axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> None:
    """Draw groups of bars side by side, one bar of each group for each series."""
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        places = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * width
        axes.bar(places, values, 0.9 * width, color=COLOURS[index % 8], label=name)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
