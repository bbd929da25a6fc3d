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

from elmo.runs.identity import FINISHED
from elmo.runs.record import FAILURE_FILE, METRICS_FILE, read_record
from elmo.utils.terminal import markdown_table, print_table

log = logging.getLogger(__name__)

COLUMNS = {  # the perplexities are shown of language models, the rest of classifiers
    "val/perplexity": "val perplexity",
    "test/perplexity": "test perplexity",
    "val/accuracy": "val accuracy",
    "test/accuracy": "test accuracy",
    "test/f1": "test macro F1",
}


class SweepTable(Callback):
    """Writes and prints a table with one row per job at the end of a multirun.

    Hydra turns an exception of a callback into a warning; SystemExit does end the program.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Drop two copies of the job's config, which Hydra would keep until the sweep ends."""
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
        """Write and print the table; return how many jobs failed."""
        rows = read_jobs(sweep_dir)
        header, cells = tabulate(rows)
        text = io.StringIO()
        csv.writer(text).writerows([header, *cells])
        (sweep_dir / "sweep.csv").write_text(text.getvalue())
        (sweep_dir / "sweep.md").write_text(markdown_table(header, cells) + "\n")
        failures = [row for row in rows if row["status"] != "ok"]
        # The reasons follow the table.
        shown = [
            [*line[:-1], "ok" if row["status"] == "ok" else "failed"]
            for row, line in zip(rows, cells, strict=True)
        ]
        print_table(header, shown, str(sweep_dir))
        for row in failures:
            log.error("job %s %s", row["number"], row["status"])
        return len(failures)


def read_jobs(sweep_dir: Path) -> list[dict[str, Any]]:
    """Return number, overrides, record (empty where it failed) and status of each job."""
    rows = []
    found = [file.parent.parent for file in sweep_dir.rglob(".hydra/overrides.yaml")]
    for folder in found:
        if FINISHED in folder.parts:
            continue
        overrides = [
            str(item).split("=", 1) for item in OmegaConf.load(folder / ".hydra/overrides.yaml")
        ]
        row: dict[str, Any] = {
            "number": int(OmegaConf.load(folder / ".hydra/hydra.yaml").hydra.job.num),
            "overrides": {pair[0]: pair[-1] for pair in overrides},
            "record": {},
        }
        if (folder / METRICS_FILE).is_file():
            row["status"] = "ok"
            row["record"] = read_record(folder)
        elif (folder / FAILURE_FILE).is_file():
            row["status"] = "failed: " + json.loads((folder / FAILURE_FILE).read_text())["reason"]
        else:
            row["status"] = f"failed: ended without {METRICS_FILE}"
        rows.append(row)
    return sorted(rows, key=lambda row: row["number"])


def tabulate(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the header and, for each job, its cells.

    The columns are the overrides that vary, figures, lambdas, seconds and status. Perplexities
    depend on the vocabulary, so V and the unknown rate follow them.
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
