"""The sections on cost and on where the figures come from, and the confusion matrices."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elmo.report.findings import percent
from elmo.report.material import Classifier, Material
from elmo.report.writing import Manuscript
from elmo.runs.keys import is_neutral_override, is_seed
from elmo.runs.record import read_start

# Sweeps by themselves; what they vary stands among the overrides of every job.
STUDIES = ("experiment=lambda_study", "experiment=learning_curve")


def cost(material: Material, paper: Manuscript) -> None:
    rows = []
    for run in material.bilms:
        sizes = run.record.get("parameters", {})
        rows.append(["biLM, pretraining", _size(sum(sizes.values())), "", *_times(run.record)])
    for one in material.classifiers:
        record = one.setting.records[0]
        sizes = record.get("parameters", {})
        encoder = sizes.get("encoder", 0)
        own = sum(sizes.values()) - encoder
        if "features" in record:
            own = (record["features"] + 1) * len(record["splits"]["train"]["per_class"])
        times = [float(r["seconds"]) for r in one.setting.records]
        _, threads, device = _times(record)
        line = [
            one.title,
            _size(own),
            _size(encoder),
            f"{np.mean(times):,.0f}",
            threads,
            device,
        ]
        rows.append(line)
    if not rows:
        return
    paper.heading("Cost")
    paper.paragraph(
        "Seconds of a whole run on the wall clock, final evaluation of all splits included, mean "
        "over seeds, on machines that may have had other work. What was computed once and cached "
        "for later runs (vectors, the frozen layers) is in the run that came first. Of TF-IDF the "
        "weights of the linear classifier are counted."
    )
    header = ["setting", "parameters", "of the encoder", "seconds", "threads", "device"]
    paper.table(
        "Size and time: parameters of mixer and head or of the linear classifier, and those of the "
        "frozen encoder under them.",
        header,
        rows,
    )


def _times(record: dict[str, Any]) -> list[str]:
    return [f"{record['seconds']:,.0f}", str(record["threads"]), record["device"]]


def _size(value: int) -> str:
    return f"{value:,}" if value else ""


def matrices(material: Material, paper: Manuscript) -> None:
    if not material.classifiers:
        return
    paper.heading("Confusion matrices")
    rows = []
    names = list(material.classifiers[0].setting.records[0]["splits"]["train"]["per_class"])
    for one in material.classifiers:
        splits = one.setting.records[0]["splits"]
        shares = [_shares(one.confusion(s)) for s in ("train", "test") if s in splits]
        for index, name in enumerate(names):
            cells = [
                " / ".join(f"{share[index, column]:.1f}" for share in shares)
                for column in range(len(names))
            ]
            rows.append([one.title if not index else "", name, *cells])
    paper.table(
        "Confusion matrices of every setting: per cent of the true class on train / on test, all "
        "seeds together.",
        ["setting", "true", *names],
        rows,
    )


def _shares(counts: np.ndarray) -> np.ndarray:
    return 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))


def commands(material: Material, paper: Manuscript) -> None:
    paper.heading("Where the figures come from")
    paper.paragraph(
        "Each line is the command of one setting; its runs differ in `seed`. The commit is the "
        "one that the first of them ran on."
    )
    rows = []
    for run in material.bilms:
        rows.append(["biLM", _command([run.folder], [run.record]), _commit(run.record)])
    for one in _all(material):
        rows.append(
            [
                f"{one.title}"
                + ("" if one.share == 1 else f", {percent(one.share)} of the labels"),
                _command(one.setting.folders, one.setting.records),
                _commit(one.setting.records[0]),
            ]
        )
    paper.table("Commands.", ["setting", "command", "commit"], rows)
    listed = ", ".join(f"{name} {version}" for name, version in material.versions.items())
    paper.paragraph(
        f"Neighbours in context: `elmo senses`. This report: `elmo report`. Versions: {listed}."
    )


def _all(material: Material) -> list[Classifier]:
    return [*material.classifiers, *material.few]


def _command(folders: Sequence[Path], records: Sequence[dict[str, Any]]) -> str:
    """What was typed, without what says where and how it ran; what the runs vary in, as a sweep."""
    typed: dict[str, dict[str, None]] = {}
    script = ""
    for folder, record in zip(folders, records, strict=True):
        overrides: list[str] = []
        if start := read_start(folder):
            script, overrides = start["script"], start["overrides"]
        elif "command" in record:  # of a released run
            script, *overrides = record["command"]
        if script:
            for override in [*overrides, f"seed={record['settings']['seed']}"]:
                if not is_neutral_override(override) and override not in STUDIES:
                    key, _, value = override.partition("=")
                    if is_seed(key):  # all else is alike, and only spelt as `true` or `True`
                        typed.setdefault(key, {})[value] = None
                    else:
                        typed[key] = {value: None}
    if not script:
        return ""
    words = [f"{key}={','.join(values)}" for key, values in typed.items()]
    words = [word for word in words if word != "seed=0"]
    several = ["-m"] if any(len(values) > 1 for values in typed.values()) else []
    return f"`{shlex.join(['python', script + '.py', *words, *several])}`"


def _commit(record: dict[str, Any]) -> str:
    return f"`{record['git']['commit'][:7]}`" if record.get("git") else ""
