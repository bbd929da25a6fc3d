"""Around a job under Hydra: errors as one message, and the table at the end of a sweep."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from elmo.errors import ElmoError

log = logging.getLogger(__name__)


def run_job(job: Callable[[DictConfig, Path], float], cfg: DictConfig) -> float:
    """Run one job in its folder; a user's mistake ends in one message instead of a traceback.

    In a multirun a failing job must not take the others down: its reason goes to `failure.json`
    in its folder, and it returns NaN.
    """
    hydra = HydraConfig.get()
    run_dir = Path(hydra.runtime.output_dir)
    try:
        return job(cfg, run_dir)
    except Exception as error:
        mistake = _elmo_error(error)
        if not in_multirun():
            if mistake is None:
                raise
            raise CompactHydraException(str(mistake)) from error
        if mistake is None:
            log.exception("job %s failed", hydra.job.num)
        else:
            log.error("job %s failed: %s", hydra.job.num, mistake)
        reason = str(mistake or f"{type(error).__name__}: {error}").splitlines()[0]
        (run_dir / "failure.json").write_text(json.dumps({"reason": reason}))
        return math.nan


def in_multirun() -> bool:
    """Whether this job is one of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _elmo_error(error: BaseException | None) -> ElmoError | None:
    """The ElmoError behind an exception; Hydra wraps what a constructor raises."""
    while error is not None and not isinstance(error, ElmoError):
        error = error.__cause__
    return error


class SweepTable(Callback):
    """At the end of a multirun, writes and prints a table with one row a job."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        sweep_dir = Path(config.hydra.sweep.dir)
        rows = collect(sweep_dir)
        if not rows:
            return
        header, cells = tabulate(rows)
        text = io.StringIO()
        csv.writer(text).writerows([header, *cells])
        (sweep_dir / "sweep.csv").write_text(text.getvalue())
        lines = [header, ["---"] * len(header), *cells]
        (sweep_dir / "sweep.md").write_text(
            "".join(
                f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines
            )
        )
        table = Table(*header, title=str(sweep_dir))
        for line in cells:
            table.add_row(*line)
        console = Console()
        console.print(table if console.width >= 80 else (sweep_dir / "sweep.md").read_text())
        failed = sum(not row["status"].startswith("ok") for row in rows)
        if failed:
            log.error("%d of %d jobs failed, see their status in %s", failed, len(rows), sweep_dir)
            raise SystemExit(1)


def collect(sweep_dir: Path) -> list[dict[str, Any]]:
    """What each job of a sweep left: its overrides, its record if it ended well, its status."""
    folders = [file.parent.parent for file in sweep_dir.glob("*/.hydra/overrides.yaml")]
    rows = []
    for folder in sorted(folders, key=lambda folder: int(folder.name.split("_")[0])):
        overrides = [
            str(item).split("=", 1) for item in OmegaConf.load(folder / ".hydra/overrides.yaml")
        ]
        row: dict[str, Any] = {
            "folder": folder.name,
            "overrides": {pair[0]: pair[-1] for pair in overrides},
            "record": {},
        }
        if (folder / "failure.json").is_file():
            row["status"] = "failed: " + json.loads((folder / "failure.json").read_text())["reason"]
        elif (folder / "metrics.json").is_file():
            row["status"] = "ok"
            row["record"] = json.loads((folder / "metrics.json").read_text())
        else:
            row["status"] = "failed: ended without metrics.json"
        rows.append(row)
    return rows


COLUMNS = {  # of either task; a sweep shows those that its jobs have
    "val/accuracy": "val accuracy",
    "val/perplexity": "val perplexity",
    "test/accuracy": "test accuracy",
    "test/f1": "test macro F1",
    "test/perplexity": "test perplexity",
}


def tabulate(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells: overrides that vary, figures, lambdas, seconds and status of each job."""
    keys = dict.fromkeys(key for row in rows for key in row["overrides"])
    varying = [key for key in keys if len({row["overrides"].get(key) for row in rows}) > 1]
    figures = [
        key for key in COLUMNS if any(key in row["record"].get("metrics", {}) for row in rows)
    ]
    has_lambdas = any("lambdas" in row["record"] for row in rows)
    header = [*(varying or ["job"]), *(COLUMNS[key] for key in figures)]
    header += [*(["lambdas"] if has_lambdas else []), "seconds", "status"]
    cells = []
    for row in rows:
        record = row["record"]
        line = [row["overrides"].get(key, "") for key in varying] or [row["folder"]]
        for key in figures:
            value = record.get("metrics", {}).get(key)
            digits = 2 if "perplexity" in key else 4
            line.append("" if value is None else f"{value:.{digits}f}")
        if has_lambdas:
            line.append(" ".join(f"{value:.2f}" for value in record.get("lambdas", [])))
        line.append(f"{record['seconds']:.0f}" if "seconds" in record else "")
        cells.append([*line, row["status"]])
    return header, cells
