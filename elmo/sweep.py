"""The table at the end of a sweep."""

from __future__ import annotations

import csv
import io
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from elmo.identity import FINISHED
from elmo.job import FAILURE

log = logging.getLogger(__name__)


class SweepTable(Callback):
    """At the end of a multirun, writes and prints a table with one row a job.

    Hydra turns an exception of a callback into a warning; SystemExit does end the program.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Hydra keeps what every job returned to the end, and with it two copies of its config."""
        job_return.cfg = job_return.hydra_cfg = None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        sweep_dir = Path(config.hydra.sweep.dir)
        shutil.rmtree(sweep_dir / FINISHED, ignore_errors=True)
        try:
            failed = self._report(sweep_dir)
        except Exception:
            log.exception("the sweep table could not be made")
            raise SystemExit(1) from None
        if failed:
            raise SystemExit(1)

    def _report(self, sweep_dir: Path) -> int:
        """Write and print the table; returns how many jobs failed."""
        rows = collect(sweep_dir)
        header, cells = tabulate(rows)
        text = io.StringIO()
        csv.writer(text).writerows([header, *cells])
        (sweep_dir / "sweep.csv").write_text(text.getvalue())
        lines = [header, ["---"] * len(header), *cells]
        safe = [[cell.replace("|", "/") for cell in line] for line in lines]
        (sweep_dir / "sweep.md").write_text("".join(f"| {' | '.join(row)} |\n" for row in safe))
        # Text, because brackets in a string would be Rich's markup.
        table = Table(title=Text(str(sweep_dir)))
        for name in header:
            table.add_column(Text(name), overflow="fold")  # never a figure cut short
        for row, line in zip(rows, cells, strict=True):
            status = "ok" if row["status"] == "ok" else "failed"  # the reasons follow the table
            table.add_row(*map(Text, [*line[:-1], status]))
        Console().print(table)
        failures = [(row["number"], row["status"]) for row in rows if row["status"] != "ok"]
        for number, status in failures:
            log.error("job %s %s", number, status)
        return len(failures)


def _job_folders(sweep_dir: Path) -> list[Path]:
    found = [file.parent.parent for file in sweep_dir.rglob(".hydra/overrides.yaml")]
    return [folder for folder in found if FINISHED not in folder.parts]


def collect(sweep_dir: Path) -> list[dict[str, Any]]:
    """What each job of a sweep left: its overrides, its record if it ended well, its status."""
    rows = []
    for folder in _job_folders(sweep_dir):
        overrides = [
            str(item).split("=", 1) for item in OmegaConf.load(folder / ".hydra/overrides.yaml")
        ]
        row: dict[str, Any] = {
            "number": int(OmegaConf.load(folder / ".hydra/hydra.yaml").hydra.job.num),
            "overrides": {pair[0]: pair[-1] for pair in overrides},
            "record": {},
        }
        if (folder / "metrics.json").is_file():
            row["status"] = "ok"
            row["record"] = json.loads((folder / "metrics.json").read_text())
        elif (folder / FAILURE).is_file():
            row["status"] = "failed: " + json.loads((folder / FAILURE).read_text())["reason"]
        else:
            row["status"] = "failed: ended without metrics.json"
        rows.append(row)
    return sorted(rows, key=lambda row: row["number"])


COLUMNS = {  # of a language model the perplexities, of a classifier the rest
    "val/perplexity": "val perplexity",
    "test/perplexity": "test perplexity",
    "val/accuracy": "val accuracy",
    "test/accuracy": "test accuracy",
    "test/f1": "test macro F1",
}


def tabulate(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells: overrides that vary, figures, lambdas, seconds and status of each job.

    Perplexities depend on the vocabulary, so V and the unknown rate stand beside them.
    """
    keys = dict.fromkeys(key for row in rows for key in row["overrides"])
    varying = [key for key in keys if len({row["overrides"].get(key) for row in rows}) > 1]
    found = {key for row in rows for key in row["record"].get("metrics", {})}
    has_perplexity = "val/perplexity" in found
    figures = [key for key in COLUMNS if key in found and has_perplexity == ("perplexity" in key)]
    has_lambdas = any("lambdas" in row["record"] for row in rows)
    header = [*(varying or ["job"]), *(COLUMNS[key] for key in figures)]
    header += [*(["V", "val unknown"] if has_perplexity else [])]
    header += [*(["lambdas"] if has_lambdas else []), "seconds", "status"]
    cells = []
    for row in rows:
        record = row["record"]
        line = [row["overrides"].get(key, "") for key in varying] or [str(row["number"])]
        for key in figures:
            value = record.get("metrics", {}).get(key)
            digits = 2 if "perplexity" in key else 4
            line.append("" if value is None else f"{value:.{digits}f}")
        if has_perplexity:
            data = record.get("data")
            line.append(f"{data['vocabulary_size']:,}" if data else "")
            line.append(f"{data['unknown_rate']['validation']:.2%}" if data else "")
        if has_lambdas:
            line.append(" ".join(f"{value:.2f}" for value in record.get("lambdas", [])))
        line.append(f"{record['seconds']:.0f}" if "seconds" in record else "")
        cells.append([*line, row["status"]])
    return header, cells
