"""Around a job under Hydra: errors as one message, and the table at the end of a sweep."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from elmo.errors import ElmoError
from elmo.memory import keep_freed_memory

log = logging.getLogger(__name__)

LONGEST = 120  # of a name made of settings; file systems take 255 bytes


def run_name(start: str, overrides: str) -> str:
    """The name of a run's folder, and so of the run in TensorBoard: its start, and its settings.

    Of characters that need no quotes where the folder is typed, as in `bilm_path=FOLDER`. A long
    list of settings is cut, with a hash of all of it in the place of the rest.
    """
    settings = re.sub(r"[^a-zA-Z0-9_.+-]+", "_", overrides)
    if len(settings) > LONGEST:
        digest = hashlib.sha256(overrides.encode()).hexdigest()[:8]
        settings = f"{settings[:LONGEST]}-{digest}"
    return f"{start}_{settings}".rstrip("_")


OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def run_job(job: Callable[[DictConfig, Path], float], cfg: DictConfig) -> float:
    """Run one job in its folder; a user's mistake ends in one message instead of a traceback.

    In a multirun a failing job must not take the others down: its reason goes to `failure.json`
    in its folder, and it returns NaN.
    """
    keep_freed_memory()
    hydra = HydraConfig.get()
    run_dir = Path(hydra.runtime.output_dir)
    try:
        return job(cfg, run_dir)
    except Exception as error:
        mistake = _mistake(error)
        if not in_multirun():
            if mistake is None:
                raise
            raise CompactHydraException(mistake) from error
        if mistake is None:
            log.exception("job %s failed", hydra.job.num)
        else:
            log.error("job %s failed: %s", hydra.job.num, mistake)
        reason = (mistake or f"{type(error).__name__}: {error}").splitlines()[0]
        (run_dir / "failure.json").write_text(json.dumps({"reason": reason}))
        return math.nan


def in_multirun() -> bool:
    """Whether this job is one of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def settings_of(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain data."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def choices() -> dict[str, str]:
    """Which file of each config group this job took, such as `mixer: trainable`."""
    found = HydraConfig.get().runtime.choices.items()
    return {group: name for group, name in found if name and not group.startswith("hydra/")}


def _mistake(error: BaseException) -> str | None:
    """What to tell the user where an exception is the user's to mend; None where it is a defect.

    Besides our own errors these are what a constructor says of a config (Hydra wraps it), a key
    that the class of a config does not take, and settings that Lightning refuses.
    """
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    for link in chain:
        if isinstance(link, ElmoError):
            return str(link)
        if isinstance(link, TypeError) and "unexpected keyword argument" in str(link):
            return f"{link}; every key of a config is an argument of the class in its _target_"
        if type(link).__name__ == "MisconfigurationException":  # importing it costs seconds
            return f"trainer: {link}"
    if isinstance(error, InstantiationException):
        return f"{chain[-1]}; check the settings, see --cfg job"
    return None


class SweepTable(Callback):
    """At the end of a multirun, writes and prints a table with one row a job.

    Hydra turns an exception of a callback into a warning; SystemExit does end the program.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        sweep_dir = Path(config.hydra.sweep.dir)
        if _job_folders(sweep_dir):
            log.error(
                "%s already holds jobs: no run overwrites another; leave hydra.sweep.dir out to "
                "get a new folder, or name an empty one",
                sweep_dir,
            )
            raise SystemExit(1)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            failed = self._report(Path(config.hydra.sweep.dir))
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
    return [file.parent.parent for file in sweep_dir.rglob(".hydra/overrides.yaml")]


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
        if (folder / "failure.json").is_file():
            row["status"] = "failed: " + json.loads((folder / "failure.json").read_text())["reason"]
        elif (folder / "metrics.json").is_file():
            row["status"] = "ok"
            row["record"] = json.loads((folder / "metrics.json").read_text())
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
