"""The charts of the page: one look, colours that colour-blind readers tell apart, marks as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

# Okabe and Ito's palette, without its yellow, which is too light on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#A33B3B")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "star-triangle-up",
    "hexagon",
)
PATTERNS = ("", "/", ".", "x", "-", "+")
INK = "#3c4048"  # in exported files; on the page the style sheet sets light or dark
LINE = "#c9ccd2"
LONGEST = 20  # characters of a word; few English words have more
MOST_TICKS = 80  # words named below a chart; of more, every second or third
LEGEND = 700  # pixels of a row of a legend, as wide as the narrowest export
WITH_COUNTS = 12  # classes up to which a confusion matrix has room for its counts

Points = np.ndarray  # (N, 2), x and y


def cut(word: str) -> str:
    """Return a word as charts and tables show it: its start where it is very long."""
    return word if len(word) <= LONGEST else word[: LONGEST - 1] + "…"


def _layout(figure: go.Figure, height: int, **options: object) -> go.Figure:
    """Set the look of a figure that has its traces; a legend of many rows makes it higher."""
    entries = [trace.name for trace in figure.data if trace.name and trace.showlegend is not False]
    width = 45 + 7 * max(map(len, entries), default=0)  # of one entry; all are as wide
    rows = ceil(len(entries) / max(1, LEGEND // width))
    figure.update_layout(
        height=height + 20 * max(0, rows - 1),
        margin={"l": 56, "r": 12, "t": 34, "b": 44},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "maxheight": 1},
        colorway=COLOURS,
        hoverlabel={"namelength": -1},
        **options,
    )
    figure.update_xaxes(gridcolor=LINE, linecolor=LINE, zerolinecolor=LINE, automargin=True)
    figure.update_yaxes(gridcolor=LINE, linecolor=LINE, zerolinecolor=LINE, automargin=True)
    return figure


def by_word(
    words: Sequence[str], series: Mapping[str, Sequence[float]], title: str, stacked: bool = False
) -> go.Figure:
    """Return bars at each word of a text: one of each series, beside or on top of each other."""
    figure = go.Figure()
    words = [cut(word) for word in words]
    places = list(range(len(words)))
    step = ceil(len(words) / MOST_TICKS) or 1
    for index, (name, values) in enumerate(series.items()):
        figure.add_bar(
            x=places,
            y=list(values),
            name=name,
            marker={"color": COLOURS[index % 8], "pattern": {"shape": PATTERNS[index % 6]}},
            customdata=words,
            hovertemplate="%{customdata}: %{y:.3f}",
        )
    _layout(figure, 300, barmode="stack" if stacked else "group", showlegend=len(series) > 1)
    figure.update_layout(legend={"traceorder": "normal"})
    figure.update_xaxes(
        tickvals=places[::step],
        ticktext=words[::step],
        tickangle=-50,
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(title=title)
    return figure


def by_layer(values: Sequence[float]) -> go.Figure:
    """Return a bar for each layer: a cosine between -1 and 1."""
    names = [f"layer {layer}" + (" (static)" if layer == 0 else "") for layer in range(len(values))]
    figure = go.Figure(
        go.Bar(
            x=names,
            y=list(values),
            text=[f"{value:.3f}" for value in values],
            textposition="outside",
            cliponaxis=False,
            marker={"color": COLOURS[0]},
        )
    )
    _layout(figure, 240)
    figure.update_layout(margin={"t": 8}, bargap=0.5)
    figure.update_yaxes(title="cosine", range=[min(0.0, *values) - 0.05, 1.15])
    return figure


def maps(
    places: np.ndarray,
    shares: np.ndarray,
    senses: Sequence[str],
    texts: Sequence[str],
    marked: Mapping[str, np.ndarray],
) -> go.Figure:
    """Return a map of N occurrences for each of L layers, with the sentences asked about marked.

    Args:
        places: (L, N, 2).
        shares: of the variance that each axis keeps (L, 2).
        senses: (N,).
        texts: shown of each occurrence (N,).
        marked: place (L, 2) of each sentence by its name.
    """
    layers = len(places)
    figure = make_subplots(
        1,
        layers,
        subplot_titles=[f"layer {layer}" for layer in range(layers)],
        horizontal_spacing=0.06,
    )
    for index, sense in enumerate(dict.fromkeys(senses)):
        chosen = [i for i, other in enumerate(senses) if other == sense]
        for layer in range(layers):
            figure.add_scatter(
                x=places[layer, chosen, 0],
                y=places[layer, chosen, 1],
                mode="markers",
                name=sense,
                legendgroup=sense,
                showlegend=layer == 0,
                marker={"color": COLOURS[index % 8], "symbol": SYMBOLS[index % 8], "size": 8},
                text=[texts[i] for i in chosen],
                hovertemplate="%{text}",
                row=1,
                col=layer + 1,
            )
    for name, spots in marked.items():
        for layer in range(layers):
            figure.add_scatter(
                x=[spots[layer, 0]],
                y=[spots[layer, 1]],
                mode="markers+text",
                text=[name],
                textposition="top center",
                textfont={"size": 15},
                cliponaxis=False,
                marker={
                    "color": "black",
                    "symbol": "star",
                    "size": 15,
                    "line": {"color": "white", "width": 1.5},
                },
                name=f"sentence {name}",
                showlegend=False,
                hoverinfo="name",
                row=1,
                col=layer + 1,
            )
    _layout(figure, 360)
    for layer in range(layers):
        across, up = shares[layer]
        title = f"{across:.0%} of the variance" if across else "one vector for all"
        figure.update_xaxes(title=title, row=1, col=layer + 1)
        figure.update_yaxes(title=f"{up:.0%}" if up else "", row=1, col=layer + 1)
    figure.update_layout(margin={"t": 70}, legend={"y": 1.12})
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    return figure


def expectations(words: Sequence[str], probabilities: Sequence[float], actual: str) -> go.Figure:
    """Return bars of the words expected at a gap, the best on top, the actual word set apart."""
    places = list(range(len(words)))[::-1]
    figure = go.Figure()
    for is_actual in (False, True):
        chosen = [i for i, word in enumerate(words) if (word == actual) == is_actual]
        figure.add_bar(
            x=[probabilities[i] for i in chosen],
            y=[places[i] for i in chosen],
            orientation="h",
            text=[f"{probabilities[i]:.3f}" for i in chosen],
            textposition="outside",
            cliponaxis=False,
            marker={
                "color": COLOURS[int(is_actual)],
                "pattern": {"shape": PATTERNS[int(is_actual)]},
            },
            customdata=[words[i] for i in chosen],
            hovertemplate="%{customdata}: %{x:.4f}<extra></extra>",
        )
    _layout(figure, 300, barmode="overlay", showlegend=False)
    figure.update_layout(margin={"t": 8, "r": 48})
    figure.update_xaxes(title="probability", rangemode="tozero")
    figure.update_yaxes(tickvals=places, ticktext=list(words), showgrid=False, zeroline=False)
    return figure


def curves(series: Mapping[str, Points | Mapping[str, Points]], x: str, y: str) -> go.Figure:
    """Return lines over steps or rows, told apart by colour, dash and mark.

    Args:
        series: the points of each line; or of a group of lines by their names, which share a colour
            and have no marks.
        x, y: titles of the axes.
    """
    figure = go.Figure()
    for index, (name, found) in enumerate(series.items()):
        lines = found if isinstance(found, Mapping) else {"": found}
        for number, (part, points) in enumerate(lines.items()):
            is_marked = not part and len(points) <= 40
            figure.add_scatter(
                x=points[:, 0].tolist(),
                y=points[:, 1].tolist(),
                name=f"{name}: {part}" if part else name,
                mode="lines+markers" if is_marked else "lines",
                line={
                    "color": COLOURS[index % 8],
                    "dash": DASHES[(number if part else index) % 6],
                },
                marker={"symbol": SYMBOLS[index % 8], "size": 7},
            )
    _layout(figure, 340, showlegend=True)
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure


def confusion(names: Sequence[str], counts: np.ndarray) -> go.Figure:
    """Return a confusion matrix (C, C): shares of the true class as shades, counts as numbers."""
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    is_small = len(names) <= WITH_COUNTS
    figure = go.Figure(
        go.Heatmap(
            z=shares.tolist(),
            x=list(names),
            y=list(names),
            text=[[f"{count:,}" for count in row] for row in counts.tolist()],
            texttemplate="%{text}" if is_small else "",
            colorscale="Blues",
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=2 if is_small else 0,
            ygap=2 if is_small else 0,
            hovertemplate="%{y} taken for %{x}: %{text}<extra></extra>",
        )
    )
    _layout(figure, 320 if is_small else 560)
    figure.update_xaxes(title="predicted", type="category", showgrid=False)
    figure.update_yaxes(title="true", autorange="reversed", type="category", showgrid=False)
    figure.update_layout(margin={"t": 10})
    return figure
