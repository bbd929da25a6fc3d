"""The section on how perplexity and accuracy grow with width, rows and epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar, nnls

from elmo.report import growth_figures
from elmo.report.collect import SCALING
from elmo.report.material import Material, metric_value
from elmo.report.writing import Manuscript, number
from elmo.runs.finished import FinishedRun
from elmo.runs.keys import relevant
from elmo.runs.recipes import digest_of

FEWEST = 3  # points that a law is fitted to; the largest is held out besides
STEEPEST = 5.0  # the largest exponent that is tried
AXES = {"width": "LSTM width", "rows": "train rows", "epochs": "epochs"}


class Law(NamedTuple):
    """y = floor + scale * x^-exponent, a power law with an asymptote (Hestness et al. 2017)."""

    floor: float
    scale: float
    exponent: float

    def at(self, x: np.ndarray | float) -> Any:
        """Return the value of the law."""
        return self.floor + self.scale * np.asarray(x, dtype=float) ** -self.exponent


class Point(NamedTuple):
    """A biLM of the study, and the classifiers on it."""

    width: float
    rows: float
    epochs: float
    loss: float  # validation, nats per word
    errors: tuple[float, ...]  # validation errors of its classifiers


def fit_law(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Law:
    """Fit a law by least squares; floor and scale are not negative.

    Args:
        x: at least three different values above 0.
        y: values that fall with x.
    """
    unit = float(np.exp(np.mean(np.log(x))))  # so that no power overflows
    places, values = np.array(x) / unit, np.array(y, dtype=float)

    def solve(exponent: float) -> tuple[np.ndarray, float]:
        return nnls(np.stack([np.ones_like(places), places**-exponent], 1), values)

    grid = np.geomspace(1e-2, STEEPEST, 200)
    best = int(np.argmin([solve(exponent)[1] for exponent in grid]))
    bounds = (grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)])
    options = {"xatol": 1e-8}
    found = minimize_scalar(lambda e: solve(e)[1], bounds=bounds, method="bounded", options=options)
    exponent = float(found.x)
    floor, scale = solve(exponent)[0]
    return Law(float(floor), float(scale * unit**exponent), exponent)


def how_accuracy_grows(material: Material, paper: Manuscript) -> None:
    """Write the section on the runs of `study=scaling`."""
    title = "How accuracy grows"
    points = _points(material.scaling)
    series = {axis: found for axis in AXES if (found := _series(points, axis))}
    if not series:
        paper.leave_out(
            title,
            f"there are no biLMs with `study={SCALING}` of {FEWEST + 1} widths, rows or epochs",
        )
        return
    paper.heading(title)
    paper.paragraph(
        f"BiLMs of `study={SCALING}` that differ in one of width, train rows and epochs, and the "
        "classifiers on them, all by their validation figures. A law, floor + scale * x^-exponent, "
        "is fitted to all points but the largest and then compared with it; the loss is that of "
        "the language model in nats per word. A floor from few points is uncertain."
    )
    rows, panels = [], {}
    for axis, found in series.items():
        for name, values in _quantities(found).items():
            x = np.array([getattr(point, axis) for point in found])
            known = ~np.isnan(values)
            if known.sum() <= FEWEST:
                continue
            x, y = x[known], values[known]
            law = fit_law(x[:-1], y[:-1])
            miss = float(law.at(x[-1]) - y[-1])
            rows.append(
                [
                    f"{name} by {AXES[axis]}",
                    str(len(x) - 1),
                    number(law.floor, 3),
                    number(law.exponent, 2),
                    f"{x[-1]:,g}",
                    number(float(y[-1]), 4),
                    number(float(law.at(x[-1])), 4),
                    f"{100 * miss / y[-1]:+.1f} %",
                ]
            )
            panels[f"{name} by {AXES[axis]}"] = (AXES[axis], name, x, y, law)
    header = ["quantity", "points", "floor", "exponent", "held out at", "measured", "law", "miss"]
    paper.table("The fitted laws, and their error at the largest point.", header, rows)
    paper.figure(
        "growth",
        "Validation figures by width, rows and epochs, both axes logarithmic; the line is the law "
        "fitted to the filled points, the hollow one was held out.",
        growth_figures.laws(panels),
    )


def _quantities(points: Sequence[Point]) -> dict[str, np.ndarray]:
    errors = [float(np.mean(p.errors)) if p.errors else float("nan") for p in points]
    return {"loss": np.array([p.loss for p in points]), "error": np.array(errors)}


def _points(runs: Sequence[FinishedRun]) -> list[Point]:
    """Return the biLMs of the study; several seeds of one size are one point."""
    errors: dict[str, list[float]] = {}
    for run in runs:
        bilm = run.record["settings"].get("bilm")
        if run.is_classifier and isinstance(bilm, str):
            errors.setdefault(bilm, []).append(1 - metric_value(run.record, "val/accuracy"))
    sizes: dict[tuple[float, float, float], list[tuple[float, list[float]]]] = {}
    for run in runs:
        if run.is_bilm:
            settings, data = relevant(run.record["settings"]), run.record["data"]
            rows = settings.get("datamodule.train_rows") or data.get("pretraining_rows")
            size = (
                settings["bilm.hidden_dim"],
                rows or data["train_rows"],
                settings["trainer.max_epochs"],
            )
            loss = float(np.log(metric_value(run.record, "val/perplexity")))
            sizes.setdefault(size, []).append((loss, errors.get(digest_of(*run) or "", [])))
    return [
        Point(
            *size,
            float(np.mean([loss for loss, _ in found])),
            tuple(error for _, several in found for error in several),
        )
        for size, found in sorted(sizes.items())
    ]


def _series(points: Sequence[Point], axis: str) -> list[Point]:
    """Return the points that differ in one axis only: the longest such series; none if short."""
    others = [other for other in AXES if other != axis]
    groups: dict[tuple[float, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(getattr(point, other) for other in others), []).append(point)
    longest = max(groups.values(), key=len, default=[])
    if len(longest) <= FEWEST:
        return []
    return sorted(longest, key=lambda point: getattr(point, axis))
