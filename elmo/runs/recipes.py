"""The biLMs under classifiers: which are trained by one recipe, and differ only by chance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from elmo.runs.keys import relevant, relevant_choices, without_seeds
from elmo.runs.latest import KINDS, released_run
from elmo.runs.record import METRICS_FILE, read_record, read_start
from elmo.utils.files import sha256_of

BILM_HASH = "bilm_sha256"  # in the start of a classifier, and in the record that is kept of a biLM
SHOWN = 8  # characters of a hash
ROUNDING = ("trainer.precision",)  # how numbers are rounded is no part of a recipe

Run = tuple[Path, dict[str, Any]]  # folder and record


def bilm_under(folder: Path) -> str | None:
    """Return the beginning of the hash of the biLM that a classifier is built on."""
    start = read_start(folder) or {"settings": {}}
    found = start["settings"].get(BILM_HASH)
    return found[:SHOWN] if found else None


def digest_of(folder: Path, record: dict[str, Any]) -> str | None:
    """Return the beginning of the hash of a biLM: of its file, or as the record has it."""
    file = folder / KINDS["bilm"].file
    kept = sha256_of(file) if file.is_file() else record.get(BILM_HASH)
    return kept[:SHOWN] if kept else None


def recipes(classifiers: Iterable[Path], bilms: Iterable[Run]) -> dict[str, str]:
    """Return the recipe of each biLM under some classifiers: the first digest that has it.

    Two biLMs are of one recipe where their data and all settings that both record are equal, but
    for seeds and the precision of numbers. A biLM whose record is not found is missing.

    Args:
        classifiers: folders of runs of classifiers.
        bilms: runs of biLMs. The released one is looked up as well, and so is the one whose path a
            classifier recorded.
    """
    used = {digest: folder for folder in classifiers if (digest := bilm_under(folder))}
    records: dict[str, dict[str, Any]] = {}
    if used:
        for folder, record in [*bilms, *_released()]:
            if digest := digest_of(folder, record):
                records.setdefault(digest, record)
    found: dict[str, str] = {}
    for digest, folder in sorted(used.items()):
        known = records.get(digest) or _at_recorded_path(folder)
        if known is None:
            continue
        records[digest] = known
        same = [other for other in found.values() if _is_same(records[other], known)]
        found[digest] = same[0] if same else digest
    return found


def _released() -> Iterator[Run]:
    folder = released_run("bilm")
    if (folder / METRICS_FILE).is_file():
        yield folder, read_record(folder)


def _at_recorded_path(folder: Path) -> dict[str, Any] | None:
    """Return the record of the biLM at the path that a classifier took it from."""
    start = read_start(folder) or {"settings": {}}
    path = Path(start["settings"].get("bilm_path") or "")
    file = (path if path.is_dir() else path.parent) / METRICS_FILE
    if not start["settings"].get("bilm_path") or not file.is_file():
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
