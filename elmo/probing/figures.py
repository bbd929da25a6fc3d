"""The figure of a study: what each layer knows, and where the lambdas go."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elmo.errors import DataError
from elmo.utils.drawing import COLOURS, STYLE, WIDTH
from elmo.utils.files import atomic_writer

COLUMNS = 3  # tasks side by side
LINES = {"linear": "-", "mlp": "--"}
BASELINE = "most frequent label of the word"

Record = Mapping[str, Any]


def read_tasks(files: Sequence[Path]) -> dict[str, Record]:
    """Return the records of the tasks in files that `elmo probe` wrote, by the name of the task.

    Raises:
        DataError: a file is none of them, or two have the same task.
    """
    tasks: dict[str, Record] = {}
    for file in files:
        try:
            found = json.loads(file.read_text())["tasks"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DataError(f"{file}: not a file that elmo probe wrote ({error})") from error
        if twice := sorted(set(found) & set(tasks)):
            raise DataError(f"{file}: task {twice[0]} is in another file too; leave one out")
        tasks |= found
    return tasks


def layer_figure(
    tasks: Mapping[str, Record],
    encoders: Collection[str] | None = None,
    probes: Collection[str] | None = None,
) -> Figure:
    """Draw for each task the accuracy by layer, and below it the lambdas of the learned mix.

    Bars of an error are 95 % intervals over seeds. An encoder of one layer is a line across, and so
    is the most frequent label of each word.

    Args:
        tasks: their records by name.
        encoders, probes: the only ones to draw; None draws all.
    """
    columns = min(COLUMNS, len(tasks))
    blocks = -(-len(tasks) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9 * blocks + 0.4), layout="constrained")
        heights = [1.6, 1] * blocks
        grid = figure.subplots(2 * blocks, columns, squeeze=False, height_ratios=heights)
        for empty in grid.T.reshape(-1):
            empty.set_visible(False)
        for index, (name, record) in enumerate(tasks.items()):
            block, column = divmod(index, columns)
            above, below = grid[2 * block, column], grid[2 * block + 1, column]
            chosen = [
                result
                for result in record["results"]
                if (encoders is None or result["encoder"] in encoders)
                and (probes is None or result["probe"] in probes)
            ]
            _accuracies(above, record, chosen)
            _lambdas(below, record, chosen)
            above.set_title(name)
            if column == 0:
                above.set_ylabel("accuracy")
                below.set_ylabel("lambda")
        handles: dict[str, Any] = {}
        for axes in grid.flat:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        labels = sorted(handles, key=lambda label: label == BASELINE)  # the others as they come
        figure.legend(
            [handles[label] for label in labels],
            labels,
            loc="outside lower center",
            ncols=min(3, len(labels)),
        )
    return figure


def write_figure(path: Path, tasks: Mapping[str, Record], **chosen: Collection[str]) -> None:
    """Write the figure of `layer_figure` as the file's suffix says, such as `.svg` or `.png`.

    Args:
        chosen: `encoders` or `probes`, see `layer_figure`.
    """
    figure = layer_figure(tasks, **chosen)
    kind = path.suffix.removeprefix(".")
    with rc_context(STYLE), atomic_writer(path) as handle:
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(handle, format=kind, metadata=metadata, dpi=150)


def _accuracies(axes: Axes, record: Record, results: Sequence[Record]) -> None:
    axes.set_visible(True)
    most = max((info["layers"] for info in record["encoders"].values()), default=1)
    groups = _groups(results)
    for index, ((encoder, probe), group) in enumerate(groups.items()):
        aside = 0.08 * (index - (len(groups) - 1) / 2)  # so that no interval hides another
        style: dict[str, Any] = {"color": _colour(record, encoder), "linestyle": LINES[probe]}
        label = f"{encoder}, {probe}"
        if record["encoders"][encoder]["layers"] == 1:
            axes.axhline(group[0]["accuracy"]["mean"], label=label, linewidth=1, **style)
            continue
        for marker, mixed in (("o", False), ("D", True)):
            points = [one for one in group if isinstance(one["layer"], str) == mixed]
            if points:
                x = [(most if mixed else one["layer"]) + aside for one in points]
                middle = [one["accuracy"]["mean"] for one in points]
                errors = [_half_width(one["accuracy"]) for one in points]
                axes.errorbar(
                    x,
                    middle,
                    errors,
                    marker=marker,
                    markersize=4,
                    linewidth=1.2,
                    capsize=2,
                    label=None if mixed else label,
                    **style,
                )
    baseline = record["baselines"]["word_type"]
    if baseline is not None:
        axes.axhline(baseline, color="#888888", linestyle=":", label=BASELINE)
    _layer_axis(axes, most, "mix")
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _lambdas(axes: Axes, record: Record, results: Sequence[Record]) -> None:
    """Draw bars of the lambdas of each mix, with the smallest and the largest over seeds."""
    axes.set_visible(True)
    mixes = [result for result in results if "lambdas" in result]
    most = max((info["layers"] for info in record["encoders"].values()), default=1)
    width = 0.8 / max(1, len(mixes))
    for index, result in enumerate(mixes):
        lambdas = np.array(result["lambdas"])  # (S, L)
        middle = lambdas.mean(0)
        places = np.arange(len(middle)) + (index - (len(mixes) - 1) / 2) * width
        axes.bar(
            places,
            middle,
            0.9 * width,
            yerr=[middle - lambdas.min(0), lambdas.max(0) - middle],
            error_kw={"linewidth": 0.8},
            color=_colour(record, result["encoder"]),
            hatch=None if result["probe"] == "linear" else "////",
            edgecolor="white",
            linewidth=0,
        )
        axes.axhline(1 / len(middle), color="#888888", linewidth=0.6)
    axes.set_ylim(0, 1)
    _layer_axis(axes, most, "")
    axes.set_xlabel("layer")


def _layer_axis(axes: Axes, layers: int, last: str) -> None:
    axes.set_xlim(-0.5, layers + 0.5)
    axes.set_xticks(range(layers + 1), [*map(str, range(layers)), last])
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)


def _groups(results: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for result in results:
        groups.setdefault((result["encoder"], result["probe"]), []).append(result)
    return groups


def _colour(record: Record, encoder: str) -> str:
    return COLOURS[list(record["encoders"]).index(encoder) % len(COLOURS)]


def _half_width(found: Record) -> float:
    return 0.0 if found["high"] is None else found["high"] - found["mean"]
