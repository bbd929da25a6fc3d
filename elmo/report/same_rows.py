"""Corpora of the same rows under two names, such as a file and the rows that were taken from one.

`data=ag_news` of a file with 56,983 rows and `data=ag_news_57k`, which takes these rows out of the
whole file, have different fingerprints and the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from elmo.runs.finished import FinishedRun

# Facts that are counted on the rows, and recorded since the first runs.
COUNTS = (
    *("train_rows_in_source", "test_rows_in_source", "train_rows_also_in_test"),
    *("repeated_descriptions", "descriptions_with_conflicting_labels"),
    *("train_rows", "validation_rows", "test_rows"),
)


def under_one_name(runs: Sequence[FinishedRun]) -> tuple[list[FinishedRun], dict[str, str]]:
    """Return runs in which corpora of the same rows have one name, and the other names.

    Rows are taken as the same where all counts agree and some run of either has the same
    vocabulary, which is made from the texts of the train rows. Other splits have counts of their
    own. The name that has most splits is kept, then that with most runs.

    Returns:
        The runs, and the fingerprint of each corpus that was renamed, by its name.
    """
    kinds: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if "data" in run.record:
            kinds.setdefault(run.record["data"]["fingerprint"], []).append(run)
    names = [members[0].record["data"]["name"] for members in kinds.values()]
    order = sorted(kinds, key=lambda key: _rank(kinds[key], names), reverse=True)
    replaced: dict[str, str] = {}  # by fingerprint, the one that stands for it
    for place, other in enumerate(order):
        for kept in order[:place]:
            if kept not in replaced and _same(kinds[kept], kinds[other]):
                replaced[other] = kept
                break
    aliases = {kinds[key][0].record["data"]["name"]: key for key in replaced}
    renamed = [
        _renamed(run, kinds[replaced[key]])
        if (key := run.record.get("data", {}).get("fingerprint")) in replaced
        else run
        for run in runs
    ]
    return renamed, aliases


def _rank(members: Sequence[FinishedRun], names: Sequence[str]) -> tuple[int, int, str]:
    data = members[0].record["data"]
    return names.count(data["name"]), len(members), data["fingerprint"]


def _same(some: Sequence[FinishedRun], others: Sequence[FinishedRun]) -> bool:
    one, other = (_facts(members[0].record["data"]) for members in (some, others))
    return one == other and bool(_vocabularies(some) & _vocabularies(others))


def _facts(data: dict[str, Any]) -> str:
    return json.dumps([data.get("variant"), *(data.get(key) for key in COUNTS)])


def _vocabularies(runs: Sequence[FinishedRun]) -> set[str]:
    return {run.record["data"]["tokenizer"] for run in runs if "tokenizer" in run.record["data"]}


def _renamed(run: FinishedRun, kept: Sequence[FinishedRun]) -> FinishedRun:
    """Return a run whose corpus is named and set as in those of another name."""
    record = run.record
    newest = max((other.record for other in kept), key=lambda r: len(r["settings"].get("data", {})))
    data = {key: newest["data"][key] for key in ("name", "fingerprint")}
    changed = {
        **record,
        "data": {**record["data"], **data},
        "choices": {**record["choices"], "data": newest["choices"]["data"]},
        "settings": {**record["settings"], "data": newest["settings"].get("data", {})},
    }
    return run._replace(record=changed)
