"""The biLMs under classifiers: which are trained by one recipe, and differ only by chance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from elmo.runs.keys import relevant, relevant_choices, without_seeds
from elmo.runs.latest import KINDS, released_run
from elmo.runs.record import METRICS_FILE, read_record, read_start
from elmo.utils.files import sha256_of

# In the start of a classifier, a list where it has several biLMs, and in the kept record of a biLM.
BILM_HASH = "bilm_sha256"
# In the start of a classifier: hashes of what else it was made from.
INPUT_HASHES = ("teacher_sha256", "suspects_sha256", "augmentation_sha256")
SHOWN = 8  # characters of a hash
ROUNDING = ("trainer.precision",)  # how numbers are rounded is no part of a recipe

Run = tuple[Path, dict[str, Any]]  # folder and record


def bilm_under(folder: Path) -> str | None:
    """Return the beginning of the hash of the biLM that a classifier is built on.

    Those of several biLMs side by side are joined by "/", see `parts_of`.
    """
    found = _started_with(folder).get(BILM_HASH)
    hashes = found if isinstance(found, list) else [found or ""]
    return "/".join(digest[:SHOWN] for digest in hashes) or None


def _started_with(folder: Path) -> dict[str, Any]:
    """Return the settings and hashes that a run recorded at its start; empty if it kept none."""
    return (read_start(folder) or {"settings": {}})["settings"]


def inputs_under(folder: Path) -> dict[str, str | None]:
    """Return the beginnings of the hashes of what a classifier was made from, beside its data.

    `bilm` is always among them, teachers and other inputs only where there are such.
    """
    settings = _started_with(folder)
    hashes = {key: settings.get(key) for key in INPUT_HASHES}
    return {
        "bilm": bilm_under(folder),
        **{key: found[:SHOWN] for key, found in hashes.items() if found},
    }


def parts_of(digest: str) -> list[str]:
    """Return the biLMs that `bilm_under` has found, one or several side by side."""
    return digest.split("/")


def digest_of(folder: Path, record: dict[str, Any]) -> str | None:
    """Return the beginning of the hash of a biLM: of its file, or as the record has it."""
    file = folder / KINDS["bilm"].file
    kept = sha256_of(file) if file.is_file() else record.get(BILM_HASH)
    return kept[:SHOWN] if kept else None


def recipes(classifiers: Iterable[Path], bilms: Iterable[Run]) -> dict[str, str]:
    """Return the recipe of each biLM under some classifiers: the first digest that has it.

    Two biLMs are of one recipe where their data and all settings that both record are equal, but
    for seeds and the precision of numbers. Several side by side are of one recipe where each is in
    its place. A biLM whose record is not found is missing.

    Args:
        classifiers: folders of runs of classifiers.
        bilms: runs of biLMs. The released one is looked up as well, and so is the one whose path a
            classifier recorded.
    """
    built = {digest: folder for folder in classifiers if (digest := bilm_under(folder))}
    used = {
        part: (folder, place)
        for digest, folder in built.items()
        for place, part in enumerate(parts_of(digest))
    }
    records: dict[str, dict[str, Any]] = {}
    if used:
        for folder, record in [*bilms, *_released()]:
            if digest := digest_of(folder, record):
                records.setdefault(digest, record)
    found: dict[str, str] = {}
    for digest, (folder, place) in sorted(used.items()):
        known = records.get(digest) or _at_recorded_path(folder, place)
        if known is None:
            continue
        records[digest] = known
        same = [other for other in found.values() if _is_same(records[other], known)]
        found[digest] = same[0] if same else digest
    for digest in built:
        parts = parts_of(digest)
        if len(parts) > 1 and all(part in found for part in parts):
            found[digest] = "/".join(found[part] for part in parts)
    return found


def _released() -> Iterator[Run]:
    folder = released_run("bilm")
    if (folder / METRICS_FILE).is_file():
        yield folder, read_record(folder)


def _at_recorded_path(folder: Path, place: int) -> dict[str, Any] | None:
    """Return the record of the biLM at the path that a classifier took it from.

    Args:
        place: of the biLM among those side by side.
    """
    settings = _started_with(folder)
    paths = settings.get("encoder.bilm_paths") or [settings.get("bilm_path")]
    if not any(paths):  # a kept run has none
        return None
    path = Path(paths[place])
    file = (path if path.is_dir() else path.parent) / METRICS_FILE
    if not file.is_file():
        return None
    try:
        record = read_record(file.parent)
    except (OSError, ValueError):
        return None  # as good as none: the classifier stays a setting of its own
    return record if isinstance(record, dict) and "settings" in record else None


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["data"].get("fingerprint") != other["data"].get("fingerprint"):
        return False
    first, second = (
        {**without_seeds(relevant(r["settings"])), **relevant_choices(r["choices"])}
        for r in (one, other)
    )
    keys = (first.keys() & second.keys()).difference(ROUNDING)
    return all(first[key] == second[key] for key in keys)
