"""The charts of the tab Runs: curves, lambdas, confusion matrices, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
from dash.development.base_component import Component

from elmo.errors import DataError
from elmo.page import charts, parts
from elmo.page.found_runs import confusion, key_of
from elmo.report.collect import read_curves
from elmo.runs.finished import FinishedRun
from elmo.runs.labels import label_of

SHOWN_CURVES = ("val/accuracy", "val/perplexity", "val/loss", "train/loss", "train/accuracy")


def curve_tags(runs: Sequence[FinishedRun]) -> list[str]:
    """Return the scalars that any of some runs recorded more than once, the usual ones first."""
    found: set[str] = set()
    for run in runs:
        with suppress(DataError):  # drawing them says what is wrong
            found |= {tag for tag, points in read_curves(run.folder).items() if len(points) > 1}
    usual = [tag for tag in SHOWN_CURVES if tag in found]
    return usual + sorted(tag for tag in found.difference(usual) if not tag.startswith("lambda/"))


def curves(runs: Sequence[FinishedRun], titles: Mapping[str, str], tag: str) -> Component:
    """Return a scalar of some runs over the steps of their training."""
    series = {}
    for run in runs:
        points = read_curves(run.folder).get(tag)
        if points is not None:
            series[titles[key_of(run.folder)]] = points
    if not series:
        return parts.note(f"None of these runs recorded {tag}.")
    return parts.chart(
        tag.replace("/", "-"),
        charts.curves(series, "step", tag),
        f"{tag} in the course of training",
        ["run", "step", tag],
        [[name, f"{x:g}", f"{y:g}"] for name, points in series.items() for x, y in points],
    )


def lambdas(runs: Sequence[FinishedRun], titles: Mapping[str, str]) -> Component | None:
    """Return the lambdas of some runs over the steps; None where no run mixed several layers."""
    series: dict[str, dict[str, charts.Points]] = {}
    for run in runs:
        for tag, points in read_curves(run.folder).items():
            layer = tag.removeprefix("lambda/")
            if tag != layer and layer.isdigit():
                of_run = series.setdefault(titles[key_of(run.folder)], {})
                of_run[f"layer {layer}"] = points
    series = {name: layers for name, layers in series.items() if len(layers) > 1}
    if not series:
        return None
    return parts.chart(
        "lambdas",
        charts.curves(series, "step", "lambda"),
        "The lambdas in the course of training",
        ["run", "layer", "step", "lambda"],
        [
            [name, layer, f"{x:g}", f"{y:g}"]
            for name, layers in series.items()
            for layer, points in layers.items()
            for x, y in points
        ],
    )


def confusions(
    runs: Sequence[FinishedRun], titles: Mapping[str, str], split: str
) -> list[Component]:
    """Return the confusion matrix of each run that has one; a click on a cell is answered."""
    made: list[Component] = []
    for run in runs:
        if (found := confusion(run, split)) is None:
            continue
        names, counts = found
        key = key_of(run.folder)
        made.append(
            parts.chart(
                f"confusion-{split}-{key}",
                charts.confusion(names, counts),
                f"{titles[key]}: {split} split, true class down, predicted class across",
                ["true \\ predicted", *names],
                [[name, *row] for name, row in zip(names, counts.tolist(), strict=True)],
                graph_id={"type": "confusion", "run": key},
            )
        )
    return made


def learning_curve(runs: Sequence[FinishedRun]) -> Component | None:
    """Return test accuracy by labelled rows of settings run at several shares of the labels.

    Runs belong to one line where they have the same label, corpus and biLM; seeds are averaged.
    None where no setting has two shares.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for run in runs:
        accuracy = run.record["metrics"].get("test/accuracy")
        rows = run.record["data"].get("labelled_rows")
        if not run.is_classifier or accuracy is None or not rows:
            continue
        name = f"{label_of(run.record)}, {run.record['data']['name']}"
        found.setdefault(name, {}).setdefault(rows, []).append(accuracy)
    series = {
        name: np.array(sorted((rows, float(np.mean(values))) for rows, values in points.items()))
        for name, points in found.items()
        if len(points) > 1
    }
    if not series:
        return None
    figure = charts.curves(series, "labelled rows", "test accuracy")
    figure.update_xaxes(type="log")
    return parts.chart(
        "learning-curve",
        figure,
        "Test accuracy by the number of labelled rows, the mean over seeds",
        ["setting", "labelled rows", "test accuracy"],
        [[name, f"{x:g}", f"{y:.4f}"] for name, points in series.items() for x, y in points],
    )
