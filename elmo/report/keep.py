"""Keep the files that a report is made from, without models, texts and the paths of a machine."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from elmo.report.collect import NEIGHBOURS, read_curves
from elmo.report.material import Classifier, Material
from elmo.report.tuning import TRIALS
from elmo.report.words import TABLES
from elmo.runs.keys import is_neutral_override, without_paths
from elmo.runs.recipes import BILM_HASH, INPUT_HASHES, digest_of
from elmo.runs.record import METRICS_FILE, RUN_FILE, read_record, read_start
from elmo.utils.files import atomic_writer, write_json, write_text

TAGS = re.compile(r"(train|val)/perplexity|(train|val)/(loss|accuracy)|lambda/\d+")


def keep_material(material: Material, folder: Path) -> None:
    """Copy the runs of a report into a new folder, from which the same report can be made.

    Runs keep their predictions of validation, on which blends are chosen, and of test; those with
    few labels keep none: the report does not need theirs.
    """
    for index, bilm in enumerate(material.bilms):
        record = {**bilm.record, BILM_HASH: bilm.digest} if bilm.digest else bilm.record
        _keep_run(bilm.run.folder, record, folder / f"bilm-{index}", predictions=False)
    settings = [(_name(c), c) for c in [*material.classifiers, *material.few_labels]]
    settings += [(f"{v.name} {_name(c)}", c) for v in material.variants for c in v.classifiers]
    names: list[str] = []
    for title, classifier in settings:
        name = re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-")
        names.append(name)
        if names.count(name) > 1:
            name = f"{name}-{names.count(name)}"
        runs = zip(classifier.setting.folders, classifier.setting.records, strict=True)
        for index, (source, record) in enumerate(runs):
            target = folder / name / f"run-{index}"
            _keep_run(source, record, target, predictions=classifier.share == 1)
    for index, run in enumerate(material.scaling):
        record = {**run.record}
        if run.is_bilm and (digest := digest_of(*run)):
            record[BILM_HASH] = digest
        _keep_run(run.folder, record, folder / f"scaling-{index}", predictions=False)
    for search in material.searches:
        text = io.StringIO()
        table = csv.DictWriter(text, list(search.trials[0]))
        table.writeheader()
        table.writerows(search.trials)
        write_text(folder / search.name / TRIALS, text.getvalue())
    for kind, studies in (("probes", material.probes), ("noise", material.noise)):
        for index, study in enumerate(studies):
            write_json(folder / kind / f"{index}.json", study)
    for index, study in enumerate(material.neighbours):
        write_json(folder / f"senses-{index}" / NEIGHBOURS, study)


def _name(classifier: Classifier) -> str:
    """Return the title of a setting with its share of the labels."""
    share = "" if classifier.share == 1 else f" {classifier.share:g} of labels"
    return f"{classifier.title}{share}"


def _keep_run(source: Path, record: dict[str, Any], target: Path, predictions: bool) -> None:
    kept = {**record, "settings": without_paths(record["settings"])}
    recorded = read_record(source)  # where the rows have two names, the one that the run knew
    kept["data"] |= {key: recorded["data"][key] for key in ("name", "fingerprint")}
    kept["choices"] = recorded["choices"]
    if "data" in recorded["settings"]:
        kept["settings"]["data"] = without_paths(recorded["settings"])["data"]
    if "source" in kept.get("embedding", {}):  # a file of word vectors
        kept["embedding"] = {**kept["embedding"], "source": Path(kept["embedding"]["source"]).name}
    write_json(target / METRICS_FILE, kept)
    if start := read_start(source):
        overrides = [item for item in start["overrides"] if not is_neutral_override(item)]
        hashes = {key: start["settings"].get(key) for key in INPUT_HASHES}
        settings = {BILM_HASH: start["settings"].get(BILM_HASH)}
        settings |= {key: found for key, found in hashes.items() if found}
        write_json(
            target / RUN_FILE,
            {"script": start["script"], "overrides": overrides, "settings": settings},
        )
    curves = {tag: points for tag, points in read_curves(source).items() if TAGS.fullmatch(tag)}
    if curves:
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(["tag", "step", "value"])
        for tag, points in curves.items():
            table.writerows([tag, f"{step:g}", f"{value:.6g}"] for step, value in points)
        write_text(target / "tables" / "curves.csv", text.getvalue())
    for name in TABLES:  # counts of frequent words
        if (source / "tables" / name).is_file():
            write_text(target / "tables" / name, (source / "tables" / name).read_text())
    for split in ("validation", "test") if predictions else ():
        _keep_predictions(source, target, split)


def _keep_predictions(source: Path, target: Path, split: str) -> None:
    file = source / "predictions" / f"{split}.parquet"
    if not file.is_file():
        return
    rows = pq.read_table(file)
    probabilities = [name for name in rows.column_names if name.startswith("p(")]
    others = [name for name in rows.column_names if name not in probabilities]
    with atomic_writer(target / "predictions" / file.name) as handle:
        pq.write_table(
            rows,
            handle,
            compression="zstd",
            use_dictionary=others,
            use_byte_stream_split=probabilities,  # makes floats a third smaller
        )
