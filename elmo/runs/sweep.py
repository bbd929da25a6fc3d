"""The table at the end of a sweep."""

from __future__ import annotations

import csv
import io
import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten, wrap
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from elmo.runs.identity import FINISHED
from elmo.runs.record import FAILURE_FILE, METRICS_FILE, read_record
from elmo.utils.terminal import markdown_table, print_table, terminal_width

log = logging.getLogger(__name__)

COLUMNS = {  # the perplexities are shown of language models, the rest of classifiers
    "val/perplexity": "val perplexity",
    "test/perplexity": "test perplexity",
    "val/accuracy": "val accuracy",
    "test/accuracy": "test accuracy",
    "test/f1": "test macro F1",
}

FIGURES = (*COLUMNS.values(), "V", "val unknown", "lambdas", "seconds")
# What leaves a table that is too wide for the terminal, in this order; the status keeps a word.
LEAVING = ("seconds", "val unknown", "status", "V", "test macro F1", "lambdas", *COLUMNS.values())
LONGEST = 24  # characters of a setting in the terminal
REASON = 48  # ... and of the reason of a failed job; below the table it is whole
LINE = 16  # ... of which a line has so many, or a long word


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
        print(f"\n{sweep_dir}")
        print_fitting([row["number"] for row in rows], header, cells)
        failures = [row for row in rows if row["status"] != "ok"]
        for row in failures:
            print(f"job {row['number']} {row['status']}")
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


def print_fitting(
    numbers: Sequence[int], header: Sequence[str], cells: Sequence[list[str]]
) -> None:
    """Print what `tabulate` returned so that it fits the terminal, and name what had no room.

    Args:
        numbers: of the jobs.
        header, cells: of the table.
    """
    columns = {"job": [str(number) for number in numbers]}
    columns |= {name: [line[index] for line in cells] for index, name in enumerate(header)}
    left_out = fit(columns, terminal_width())
    names = [_short_key(name, columns) for name in columns]
    rows = list(zip(*columns.values(), strict=True))
    several = any("\n" in cell for row in rows for cell in row)
    print_table(
        names,
        rows,
        right=[index for index, name in enumerate(columns) if name in FIGURES],
        sections=range(len(rows)) if several else (),
        widths=_widths(columns),
    )
    if left_out:
        print(f"no room for: {', '.join(left_out)}; sweep.csv and sweep.md have all columns")


def fit(columns: dict[str, list[str]], width: int) -> list[str]:
    """Make a table narrower until it fits a width, in place; return the columns that had to go.

    Numbers and words that have room are not broken: reasons are cut after a word, long settings
    lose their start, lambdas stand below each other, and columns go, the least telling first.

    Args:
        columns: the cells of each column by its name.
        width: of the whole table, in characters.
    """
    columns["status"] = [_short_reason(status) for status in columns["status"]]
    settings = [name for name in columns if name not in (*FIGURES, "job", "status")]
    for name in settings:
        columns[name] = [
            cell if len(cell) <= LONGEST else f"...{cell[3 - LONGEST :]}" for cell in columns[name]
        ]
    if _width(columns) > width and "lambdas" in columns:
        columns["lambdas"] = [cell.replace(" ", "\n") for cell in columns["lambdas"]]
    left_out = []
    for name in [*LEAVING, *reversed(settings)]:
        if _width(columns) <= width:
            break
        if name == "status":
            columns[name] = [status.split()[0].rstrip(":") for status in columns[name]]
        elif columns.pop(name, None):
            left_out.append(name)
    return left_out


def _short_reason(status: str) -> str:
    """Return the start of a status in short lines."""
    words = shorten(status, REASON, placeholder=" ...").split()
    short = [word if len(word) <= LONGEST else f"{word[: LONGEST - 3]}..." for word in words]
    return "\n".join(wrap(" ".join(short), max(LINE, *map(len, short))))


def _widths(columns: Mapping[str, Sequence[str]]) -> list[int]:
    """Return the width of each column in which no word breaks: headers wrap, cells do not."""
    widths = []
    for name, cells in columns.items():
        words = [*_short_key(name, columns).split(), *"\n".join(cells).splitlines()]
        widths.append(max(map(len, words)))
    return widths


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(_widths(columns)) + 3 * len(columns) + 1  # with the lines between them


def _short_key(name: str, names: Iterable[str]) -> str:
    """Return the last part of a dotted key, if no other name ends in it."""
    last = name.rpartition(".")[2]
    return last if [other.rpartition(".")[2] for other in names].count(last) == 1 else name
