"""The record of a run: how it was started (`run.json`), what it found (`metrics.json`)."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

RUN_FILE = "run.json"
METRICS_FILE = "metrics.json"
FAILURE_FILE = "failure.json"  # of a job of a sweep


def read_record(run_dir: Path) -> dict[str, Any]:
    """Return the content of a run's `metrics.json`."""
    return json.loads((run_dir / METRICS_FILE).read_text())


def read_start(run_dir: Path) -> dict[str, Any] | None:
    """Return the content of a run's `run.json`; None where there is none."""
    file = run_dir / RUN_FILE
    return json.loads(file.read_text()) if file.is_file() else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a figure."""
    names = ("torch", "lightning", "numpy", "tokenizers", "gensim", "datasets", "torchmetrics")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def git_state() -> dict[str, Any] | None:
    """Return the commit of the checkout that holds this code, and whether files have changed."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package may lie below the checkout of another project.
        if not git("ls-files", Path(__file__).name):
            return None
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
