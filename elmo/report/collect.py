"""Collect the material of a report: the runs on one corpus, sorted by kind."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from elmo.errors import ArtifactError, DataError
from elmo.evaluation.bootstrap import summarise
from elmo.report.material import (
    SHARE_SETTINGS,
    Bilm,
    Classifier,
    Material,
    Variant,
    metric_value,
    share_of_labels,
)
from elmo.report.same_rows import under_one_name
from elmo.report.training_recipes import with_short_titles
from elmo.report.tuning import read_searches
from elmo.runs.finished import (
    FinishedRun,
    Setting,
    finished_runs,
    group_by_setting,
    on_default_splits,
)
from elmo.runs.labels import distinguish, label_of
from elmo.runs.recipes import digest_of, inputs_under, parts_of, recipes
from elmo.runs.record import METRICS_FILE, RUN_FILE

NEIGHBOURS = "neighbours.json"
SCALING = "scaling"  # the study whose runs have a section of their own
LARGEST = 2**23  # bytes of a file that is looked into


def collect(folders: Sequence[Path], data: str | None = None) -> Material:
    """Collect the material of a report from the finished runs below some folders.

    Args:
        data: the corpus, where there are runs on several; see `on_default_splits`.

    Raises:
        ArtifactError: no finished run lies below the folders.
        ConfigError: the runs are on different data, and `data` does not choose one.
        DataError: a folder does not exist, or a file in it is damaged.
    """
    every, aliases = finished_runs(folders), dict[str, str]()
    if data is None:
        every, aliases = under_one_name(every)
    runs = on_default_splits(every, data)
    scaling = [run for run in runs if run.record.get("study") == SCALING]
    if not runs:
        named = ", ".join(map(str, folders))
        raise ArtifactError(f"{named}: no finished run below it; expected runs or sweeps")
    facts, versions = runs[0].record["data"], runs[0].record.get("versions", {})
    runs = [run for run in runs if run not in scaling]
    for run in filter(lambda run: run.is_classifier, scaling):
        run.record["settings"] |= inputs_under(run.folder)
    same_rows = {facts["fingerprint"], *aliases.values()}
    trained = [run for run in runs if run.is_classifier]
    # Two groupings: the titles of settings on all labels need not name the share of the labels.
    complete = [run for run in trained if share_of_labels(run.record) == 1]
    partial = [run for run in trained if share_of_labels(run.record) < 1]
    settings = group_by_setting(complete)
    few = [Classifier(label_of(s.records[0]), s, None) for s in group_by_setting(partial)]
    used = {run.record["settings"].get("bilm") for run in trained}
    bilms, names = _name_bilms(runs, sorted(used - {None}))
    classifiers = [_classifier(setting, names) for setting in settings]
    classifiers.sort(key=lambda c: (-c.mean("val/accuracy"), c.title))
    curves, single_shares = _learning_curves([*classifiers, *few])
    neighbours = [
        study
        for file in sorted({f for folder in folders for f in folder.rglob(NEIGHBOURS)})
        if (study := _read_json(file)).get("fingerprint") in same_rows
    ]
    probes, noise = _studies(folders, same_rows)
    material = Material(
        facts,
        bilms,
        names,
        classifiers,
        curves,
        neighbours,
        single_shares,
        versions,
        _variants(every, facts, names),
        recipes([run.folder for run in trained], [run for run in runs if run.is_bilm]),
        aliases,
        scaling,
        probes,
        read_searches(folders),
        noise,
    )
    return with_short_titles(material)


def _studies(
    folders: Sequence[Path], same_rows: Collection[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the files of `elmo probe` and of `elmo noise` below some folders.

    They are known by what they hold, as their names are the user's; other files are passed over.
    """
    probes: list[dict[str, Any]] = []
    noise: list[dict[str, Any]] = []
    for file in sorted({file for folder in folders for file in folder.rglob("*.json")}):
        if file.name in (METRICS_FILE, RUN_FILE, NEIGHBOURS) or file.stat().st_size > LARGEST:
            continue
        with contextlib.suppress(ValueError):
            content = json.loads(file.read_text())
            if isinstance(content, dict) and {"models", "tasks", "seeds"} <= content.keys():
                probes.append(content)
            elif isinstance(content, dict) and content.get("sources"):
                noise += [content] if content.get("fingerprint") in same_rows else []
    return probes, noise


def _variants(
    runs: Sequence[FinishedRun], facts: Mapping[str, Any], bilm_names: Mapping[str, str]
) -> list[Variant]:
    """Return the classifiers on other splits of the same corpus that learned from all labels."""
    found: dict[str, list[FinishedRun]] = {}
    for run in runs:
        data = run.record.get("data", {})
        same = data.get("name") == facts["name"] and data["fingerprint"] != facts["fingerprint"]
        if same and data.get("variant") and run.is_classifier and share_of_labels(run.record) == 1:
            found.setdefault(data["fingerprint"], []).append(run)
    variants = []
    for members in found.values():
        classifiers = [_classifier(s, bilm_names) for s in group_by_setting(members)]
        classifiers.sort(key=lambda c: (-c.mean("val/accuracy"), c.title))
        data = members[0].record["data"]
        variants.append(Variant(data["variant"], data, classifiers))
    return sorted(variants, key=lambda variant: (variant.name, variant.data["fingerprint"]))


def _name_bilms(
    runs: Sequence[FinishedRun], used: Sequence[str]
) -> tuple[list[Bilm], dict[str, str]]:
    """Return the biLMs among some runs, the best on validation first, and the names by digest.

    Args:
        used: the digests of the biLMs that classifiers were trained on; those without a run come
            last in the order of the numbers.
    """
    found: dict[str, tuple[str | None, FinishedRun]] = {}
    pretrained = [run for run in runs if run.is_bilm]
    for run in sorted(pretrained, key=lambda run: metric_value(run.record, "val/perplexity")):
        digest = digest_of(*run)
        found.setdefault(digest or str(run.folder), (digest, run))  # a copy of a run counts once
    parts = dict.fromkeys(part for digest in used for part in parts_of(digest))
    without_run = [digest for digest in parts if digest not in found]
    count = len(found) + len(without_run)
    titles = ["biLM"] if count == 1 else [f"biLM {number + 1}" for number in range(count)]
    bilms = [Bilm(title, *pair) for title, pair in zip(titles, found.values(), strict=False)]
    names = {bilm.digest: bilm.name for bilm in bilms if bilm.digest}
    names |= dict(zip(without_run, titles[len(found) :], strict=True))
    several = [parts_of(digest) for digest in used if digest not in names]
    side_by_side = {
        "/".join(parts): "biLMs " + "+".join(names[part].split()[-1] for part in parts)
        for parts in several
    }
    return bilms, side_by_side | names  # these first: the digest of one begins theirs


def _classifier(setting: Setting, bilm_names: Mapping[str, str]) -> Classifier:
    """Return a setting with the summary of its tested runs."""
    title = setting.name
    for digest, name in bilm_names.items():
        title = title.replace(f"bilm={digest}", name)
    tested = [run for run in zip(setting.folders, setting.records, strict=True) if _is_tested(*run)]
    if not tested:
        return Classifier(title, setting, None)
    kept = Setting(title, *map(list, zip(*tested, strict=True)))
    return Classifier(title, kept, summarise(kept.outcomes()))


def _is_tested(folder: Path, record: dict[str, Any]) -> bool:
    """Tell whether a run saw the whole test split: `trainer.limit_test_batches` shows it a part."""
    file = folder / "predictions/test.parquet"
    return file.is_file() and pq.read_metadata(file).num_rows == record["data"]["test_rows"]


def _learning_curves(
    classifiers: Sequence[Classifier],
) -> tuple[dict[str, list[Classifier]], list[Classifier]]:
    """Return settings at several shares of the labels, by title, and those at a single small share.

    Where there are several classifiers at one share, the best on validation is taken.
    """
    groups: dict[str, dict[float, list[Classifier]]] = {}
    for classifier in classifiers:
        shares = groups.setdefault(classifier.curve, {})
        shares.setdefault(classifier.share, []).append(classifier)
    curves: dict[str, list[Classifier]] = {}
    single: list[Classifier] = []
    several: list[list[Classifier]] = []
    for shares in groups.values():
        best = [max(same, key=lambda c: c.mean("val/accuracy")) for same in shares.values()]
        if len(best) > 1:
            several.append(sorted(best, key=lambda c: c.share))
        else:
            single += [classifier for classifier in best if classifier.share < 1]
    names = distinguish([_at_any_share(best[-1]) for best in several])
    for best, name in zip(several, names, strict=True):
        title = name if best[-1].title in curves else best[-1].title
        curves[title] = [classifier._replace(title=title) for classifier in best]
    return dict(sorted(curves.items())), single


def _at_any_share(classifier: Classifier) -> dict[str, Any]:
    """Return the record of a setting without what changes with the share of the labels."""
    record = classifier.setting.records[0]
    return {
        "label": label_of(record),
        "choices": {k: v for k, v in classifier.choices.items() if k != "labels"},
        "settings": {k: v for k, v in classifier.plain.items() if k not in SHARE_SETTINGS},
        "study": classifier.study,
    }


def read_curves(folder: Path) -> dict[str, np.ndarray]:
    """Return the steps and values (N, 2) of each scalar of a run, by tag; empty if it kept none.

    Raises:
        DataError: the file of the run is damaged.
    """
    file = folder / "tables" / "curves.csv"
    if not file.is_file():
        return {}
    points: dict[str, list[tuple[float, float]]] = {}
    try:
        with file.open(newline="") as handle:
            for row in csv.DictReader(handle):
                points.setdefault(row["tag"], []).append((float(row["step"]), float(row["value"])))
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{file}: damaged ({error!r}); remove it, or name other runs") from error
    return {tag: np.array(values) for tag, values in points.items()}


class WordCounts(NamedTuple):
    """The words of each of the N test rows."""

    words: np.ndarray  # (N,)
    unknown: np.ndarray  # (N,) those that are `<unk>`


def word_counts(material: Material) -> WordCounts | None:
    """Return the word counts of the best classifier that keeps them; ELMo comes first.

    None where no classifier keeps them.
    """
    for classifier in sorted(material.tested, key=lambda c: not c.is_elmo):
        file = classifier.setting.folders[0] / "predictions/test.parquet"
        if "words" in pq.read_schema(file).names:
            table = pq.read_table(file, columns=["words", "unknown"])
            return WordCounts(*(table[name].to_numpy() for name in ("words", "unknown")))
    return None


def _read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty one where it holds something else."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable ({error}); remove it") from error
    return content if isinstance(content, dict) else {}
