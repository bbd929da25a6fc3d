"""The sections on cost and commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elmo.report.findings import percent
from elmo.report.material import Material, metric_value
from elmo.report.sections import commit
from elmo.report.writing import Manuscript, number
from elmo.runs.keys import is_neutral_override, is_seed, relevant
from elmo.runs.recipes import parts_of
from elmo.runs.record import read_start

# These experiments are sweeps; what they vary is among the overrides of every job as well.
STUDIES = ("experiment=lambda_study", "experiment=learning_curve")


def cost(material: Material, paper: Manuscript) -> None:
    """Write the section on sizes and times."""
    rows = []
    for bilm in material.bilms:
        size = sum(bilm.record.get("parameters", {}).values())
        rows.append([f"{bilm.name}, pretraining", _size(size), "", *_time([bilm.record])])
    for classifier in material.classifiers:
        record = classifier.setting.records[0]
        sizes = record.get("parameters", {})
        encoder = sizes.get("encoder", 0)
        own = sum(sizes.values()) - encoder
        if "features" in record:
            own = (record["features"] + 1) * len(record["splits"]["train"]["per_class"])
        times = _time(classifier.setting.records)
        rows.append([classifier.title, _size(own), _size(encoder), *times])
    if not rows:
        return
    paper.heading("Cost")
    paper.paragraph(
        "Seconds of a whole run on the wall clock, final evaluation of all splits included, mean "
        "over seeds, on machines that may have had other work. What was computed once and cached "
        "for later runs (vectors, the frozen layers) counts for the run that came first. The "
        "parameters of TF-IDF are the weights of its linear classifier."
    )
    header = ["setting", "parameters", "of the encoder", "seconds", "threads", "device"]
    paper.table(
        "Size and time: parameters of mixer and head or of the linear classifier, and those of the "
        "frozen encoder under them.",
        header,
        rows,
    )


def _time(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the mean seconds of some runs, and threads and device of the first."""
    seconds = np.mean([float(record["seconds"]) for record in records])
    return [f"{seconds:,.0f}", str(records[0]["threads"]), records[0]["device"]]


def _size(value: int) -> str:
    return f"{value:,}" if value else ""


def commands(material: Material, paper: Manuscript) -> None:
    """Write the section that says which command made which figures."""
    paper.heading("Where the figures come from")
    paper.paragraph(
        "Each line is the command of one setting; its runs differ in `seed`. The commit is that of "
        "the first run.",
        "With `bilm_path=FOLDER` a classifier takes the biLM of its line."
        if material.has_several_bilms
        else "",
    )
    rows = []
    for bilm in material.bilms:
        rows.append([bilm.name, _command([bilm.run.folder], [bilm.record]), commit(bilm.record)])
    for classifier in [*material.classifiers, *material.few_labels]:
        share = classifier.share
        title = classifier.title + ("" if share == 1 else f", {percent(share)} of the labels")
        folders, records = classifier.setting.folders, classifier.setting.records
        rows.append([title, _command(folders, records), commit(records[0])])
    paper.table("Commands.", ["setting", "command", "commit"], rows)
    _which_is_which(material, paper)
    listed = ", ".join(f"{name} {version}" for name, version in material.versions.items())
    paper.paragraph(
        "Neighbours in context: `python -m elmo senses`. This report: `python -m elmo report`. "
        f"Versions: {listed}."
    )


def _command(folders: Sequence[Path], records: Sequence[dict[str, Any]]) -> str:
    """Return one command that runs all of these runs; empty where none kept its own.

    Overrides that change no figure are left out; seeds that vary become a sweep.
    """
    values_of: dict[str, dict[str, None]] = {}
    script = ""
    for folder, record in zip(folders, records, strict=True):
        overrides: list[str] = []
        if start := read_start(folder):
            script, overrides = start["script"], start["overrides"]
        elif "command" in record:  # a released run
            script, *overrides = record["command"]
        if not script:
            continue
        for override in [*overrides, f"seed={record['settings']['seed']}"]:
            if is_neutral_override(override) or override in STUDIES:
                continue
            key, _, value = override.partition("=")
            if is_seed(key):
                values_of.setdefault(key, {})[value] = None
            else:  # equal in all runs, but for spellings such as `true` and `True`
                values_of[key] = {value: None}
    if not script:
        return ""
    words = [f"{key}={','.join(values)}" for key, values in values_of.items()]
    words = [word for word in words if word != "seed=0"]
    multirun = ["-m"] if any(len(values) > 1 for values in values_of.values()) else []
    return f"`{shlex.join(['python', script + '.py', *words, *multirun])}`"


def _which_is_which(material: Material, paper: Manuscript) -> None:
    """Write the table of the biLMs where there are several; it says what their names stand for."""
    if not material.has_several_bilms:
        return
    known = {bilm.name: bilm for bilm in material.bilms}
    digests = {n: d for d, n in material.bilm_names.items() if len(parts_of(d)) == 1}
    settings = [relevant(bilm.record["settings"]) for bilm in material.bilms]
    differing = [
        key
        for key in (settings[0] if settings else {})
        if not is_seed(key)
        and all(key in values for values in settings)
        and len({str(values[key]) for values in settings}) > 1
    ]
    rows = []
    for name in sorted({*known, *digests}):
        row = [name, digests.get(name, "")]
        if bilm := known.get(name):
            values = relevant(bilm.record["settings"])
            row += [
                str(bilm.record["settings"].get("seed", "")),
                " ".join(f"`{key}={values[key]}`" for key in differing)
                + (", in half precision" if "released" in bilm.record else ""),
                commit(bilm.record),
                *(number(metric_value(bilm.record, f"{s}/perplexity"), 2) for s in ("val", "test")),
            ]
        rows.append([*row, *[""] * 7][:7])
    unnamed = {
        material.bilm_names[c.plain["bilm"]]
        for c in material.classifiers
        if c.is_elmo and "bilm" in c.plain and "biLM" not in c.title
    }
    paper.table(
        "Which biLM is which: the beginning of the hash of its file, its run (seed, settings that "
        "differ, commit) and its perplexity."
        + (f" Settings that name no biLM are on {unnamed.pop()}." if len(unnamed) == 1 else ""),
        ["name", "hash", "seed", "settings", "commit", "validation", "test"],
        rows,
    )
