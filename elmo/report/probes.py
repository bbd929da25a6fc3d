"""The section on what the layers know, from the files that `elmo probe` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from elmo.report import growth_figures
from elmo.report.material import Material
from elmo.report.writing import Manuscript, number
from elmo.runs.labels import ENCODERS

MIX = "mix"
Result = Mapping[str, Any]


def what_each_layer_knows(material: Material, paper: Manuscript) -> None:
    """Write the section on the probes of each layer."""
    tasks = _tasks(material)
    if not tasks:
        paper.leave_out("What each layer knows", "the folders contain no file of `elmo probe`")
        return
    paper.heading("What each layer knows")
    seeds = sorted({study["seeds"] for study in material.probes})
    paper.paragraph(
        "A probe is a classifier that reads one layer of one word, or of one document, and is "
        "trained on a task that the biLM was not trained for. The interval is over "
        f"{' or '.join(map(str, seeds))} seeds of the probe. Selectivity is the accuracy less that "
        "on a control task, in which every word has a label drawn at random (Hewitt and Liang "
        "2019): what a probe learns by heart counts for both. *mix* is a probe on the layers with "
        "lambdas that it learns.",
        *(_best_layer(name, task) for name, task in tasks.items()),
    )
    rows = [row for name, task in tasks.items() for row in _rows(name, task)]
    paper.table(
        "Probes: accuracy on the test part of each task with its 95 % interval, on words that have "
        "several labels in train, and selectivity.",
        ["task", "encoder", "probe", "layer", "accuracy", "95 % interval", "ambiguous", "selec."],
        rows,
    )
    if lambdas := [row for name, task in tasks.items() for row in _lambdas(name, task)]:
        width = max(len(row) for row in lambdas) - 3
        layers = [f"layer {layer}" for layer in range(width)]
        paper.table(
            "Lambdas that the mix of each task learns, mean over seeds.",
            ["task", "encoder", "probe", *layers],
            [[*row, *[""] * width][: width + 3] for row in lambdas],
        )
    paper.figure(
        "probes",
        "Accuracy of the probes by layer, with 95 % intervals over seeds; an encoder of one layer "
        "is a line across.",
        growth_figures.layers({name: _drawn(task) for name, task in tasks.items()}),
    )


def _tasks(material: Material) -> dict[str, Result]:
    """Return the tasks of all files by name; results of one task in several files are joined.

    Where two files have the same probe, the one on more seeds counts.
    """
    tasks: dict[str, dict[str, Any]] = {}
    titles = _titles(material)
    for study in sorted(material.probes, key=lambda study: study["seeds"]):
        names = {name: titles[model["fingerprint"]] for name, model in study["models"].items()}
        for name, given in study["tasks"].items():
            task = _with_names(given, names)
            before = tasks.get(name, {"encoders": {}, "results": []})
            results = {_probe(r): r for r in [*before["results"], *task["results"]]}
            encoders = before["encoders"] | task["encoders"]
            ordered = [results[key] for key in sorted(results)]
            tasks[name] = {**task, "encoders": encoders, "results": ordered}
    return dict(sorted(tasks.items()))


def _titles(material: Material) -> dict[str, str]:
    """Return the title of each model by its fingerprint: its kind, and which of several it is."""
    kinds, bilms = dict[str, str](), dict[str, str]()
    for study in material.probes:
        for name, model in study["models"].items():
            kind = name.rstrip("0123456789").rstrip()  # "elmo 2" is the second of a file
            kinds[model["fingerprint"]] = ENCODERS.get(kind, kind)
            if found := material.bilm_names.get(model.get("bilm") or ""):
                bilms[model["fingerprint"]] = found
    several = Counter(kinds.values())
    return {
        digest: kind if several[kind] == 1 else f"{kind}, {bilms.get(digest, digest[:4])}"
        for digest, kind in kinds.items()
    }


def _with_names(task: Result, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a task with the titles of its encoders in the place of their names."""
    results = [{**r, "encoder": names[r["encoder"]]} for r in task["results"]]
    encoders = {names[name]: facts for name, facts in task["encoders"].items()}
    return {**task, "encoders": encoders, "results": results}


def _probe(result: Result) -> tuple[str, str, str]:
    return result["encoder"], result["probe"], str(result["layer"])


def _best_layer(name: str, task: Result) -> str:
    """Say which single layer is best for a task, and whether the intervals tell it apart."""
    single = [r for r in task["results"] if r["layer"] != MIX and r["probe"] == "linear"]
    layered = [r for r in single if task["encoders"][r["encoder"]]["layers"] > 1]
    if len(layered) < 2:
        return ""
    first, second, *_ = sorted(layered, key=lambda r: -r["accuracy"]["mean"])
    low, high = first["accuracy"]["low"], second["accuracy"]["high"]
    apart = "" if low is None or low <= high else ", and its interval is above all others"
    return (
        f"Task `{name}`: layer {first['layer']} of {first['encoder']} is best "
        f"({number(first['accuracy']['mean'], 3)}; layer {second['layer']} of {second['encoder']} "
        f"{number(second['accuracy']['mean'], 3)}){apart}."
    )


def _rows(name: str, task: Result) -> list[list[str]]:
    rows = []
    for index, result in enumerate(task["results"]):
        found = result["accuracy"]
        known = found["low"] is not None
        rows.append(
            [
                "" if index else name,
                result["encoder"],
                result["probe"],
                str(result["layer"]),
                number(found["mean"], 3),
                f"{number(found['low'], 3)} to {number(found['high'], 3)}" if known else "",
                *(_mean(result.get(key)) for key in ("ambiguous", "selectivity")),
            ]
        )
    return rows


def _mean(found: Result | None) -> str:
    return "" if found is None else number(found["mean"], 3)


def _lambdas(name: str, task: Result) -> list[list[str]]:
    mixes = [result for result in task["results"] if "lambdas" in result]
    return [
        [
            "" if index else name,
            result["encoder"],
            result["probe"],
            *(f"{value:.2f}" for value in np.mean(result["lambdas"], axis=0)),
        ]
        for index, result in enumerate(mixes)
    ]


def _drawn(task: Result) -> tuple[dict[str, list[tuple[str, float, float]]], float | None]:
    series: dict[str, list[tuple[str, float, float]]] = {}
    for result in task["results"]:
        found = result["accuracy"]
        half = 0.0 if found["high"] is None else found["high"] - found["mean"]
        name = f"{result['encoder']}, {result['probe']}"
        series.setdefault(name, []).append((str(result["layer"]), found["mean"], half))
    return series, task["baselines"]["word_type"]
