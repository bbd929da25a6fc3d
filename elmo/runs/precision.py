"""What `trainer.precision=auto` became: in the record of a run, and in a sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elmo.runs.record import RUN_FILE
from elmo.utils.precision import AUTO

KEY = "trainer.precision"


def as_asked(record: Mapping[str, Any], precision: Any) -> dict[str, Any]:
    """Return the settings of a `run.json` as its command would ask for them today.

    Before `auto` was the default, the same command asked for a precision by name. Such a run goes
    on in that one.

    Args:
        record: the content of `run.json`.
        precision: what the command asks for now.
    """
    settings = record["settings"]
    is_older = "precision" not in record and KEY in settings
    return {**settings, KEY: AUTO} if is_older and precision == AUTO else settings


def is_typed(record: Mapping[str, Any]) -> bool:
    """Tell whether the command of a `run.json` names a precision."""
    return any(override.startswith(f"{KEY}=") for override in record["overrides"])


def used_precision(record: Mapping[str, Any]) -> str:
    """Return the precision in which a run was started, from its `run.json`."""
    return record["precision"]["used"] if "precision" in record else record["settings"][KEY]


def precision_of_sweep(sweep_dir: Path) -> str | None:
    """Return what `auto` became in the jobs of a sweep that have begun; None where none has.

    A sweep compares its jobs, so those that begin on another machine do not take another precision.
    """
    for file in sorted(sweep_dir.rglob(RUN_FILE)):
        record = json.loads(file.read_text())
        if "precision" in record:
            asked_auto = record["precision"]["asked"] == AUTO
        else:
            asked_auto = KEY in record["settings"] and not is_typed(record)
        if asked_auto:
            return used_precision(record)
    return None
