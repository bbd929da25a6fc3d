"""The folder of a run, from its start to its record."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from elmo.errors import ConfigError
from elmo.runs.identity import same_setting
from elmo.runs.keys import CHANGEABLE
from elmo.runs.labels import setting_label
from elmo.runs.precision import KEY, as_asked, used_precision
from elmo.runs.record import METRICS_FILE, RUN_FILE, git_state, read_start, versions
from elmo.runs.resume import refuse_used
from elmo.utils.files import write_json
from elmo.utils.precision import AUTO, native_precision
from elmo.utils.ranks import first_rank_first, rank

log = logging.getLogger(__name__)

LAST_CHECKPOINT = "checkpoints/last.ckpt"  # where a resumed training continues
HEADLINES = ("val/perplexity", "test/perplexity", "val/accuracy", "test/accuracy", "test/f1")


class Run:
    """A run and its folder; as a context, it locks the folder against other processes.

    Attributes:
        checkpoint: what an earlier start of the same run left to continue from, or None.
        threads: with which PyTorch computes. Their number changes last bits, so a resumed run
            keeps that of its start.
        precision: of the training, known once the run has begun; None where nothing is trained by
            steps. A resumed run keeps that of its start as well, whatever `auto` is here.

    Args:
        run_dir: the folder; it exists.
        artifact: the name of the file that the run will leave, such as `bilstm.pt`.
        start: the content of `run.json`: script, overrides, flat settings, choices.
        settings: the resolved config as plain, nested data. `metrics.json` has them with what
            `trainer.precision=auto` became.
        may_continue: continue where an earlier start of the same run ended.
        processes: how many train on this machine.
        threads: of each process where the settings name no number; None shares all cores.
        sweep_precision: what `trainer.precision=auto` became in earlier jobs of its sweep.

    Raises:
        ConfigError: the folder holds another run, a finished run, or one that is running.
    """

    def __init__(
        self,
        run_dir: Path,
        artifact: str,
        start: Mapping[str, Any],
        settings: Mapping[str, Any],
        may_continue: bool,
        processes: int = 1,
        threads: int | None = None,
        sweep_precision: str | None = None,
    ) -> None:
        self.run_dir = run_dir
        self.artifact = run_dir / artifact
        self.start = start
        self.settings = settings
        self.may_continue = may_continue
        self.processes = processes
        share = max(1, _default_threads() // processes)
        self.threads = settings["threads"] or threads or share
        self.asked_precision = settings.get("trainer", {}).get("precision")
        self.precision = self.asked_precision
        self.sweep_precision = sweep_precision
        self.start_clock()
        self._lock = FileLock(run_dir / ".lock")

    @property
    def choices(self) -> dict[str, str]:
        """The config groups, with the file that each took."""
        return self.start["choices"]

    @property
    def leads(self) -> bool:
        """Whether this is the first process of the run, which alone writes."""
        return rank() == 0

    def __enter__(self) -> Run:
        if not self.leads:
            self._set_precision(read_start(self.run_dir))
            self._set_threads()
            return self
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"{self.run_dir}: another process is running this run; wait for it, or leave out "
                "hydra.run.dir to get a new folder"
            ) from None
        try:
            self._begin()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def prepares(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that the first process enters first, and then the others.

        The others find in the cache what the first prepared.
        """
        return first_rank_first(self.run_dir / ".prepared")

    def start_clock(self) -> None:
        """Count the seconds of the run from now on."""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """The seconds that the run has taken, those before an interruption included."""
        return time.monotonic() - self.started

    @property
    def checkpoint(self) -> Path | None:
        path = self.run_dir / LAST_CHECKPOINT
        return path if path.is_file() else None

    def finish(self, **record: Any) -> None:
        """Write `metrics.json`: what the run found, and all that is needed to repeat it."""
        record["choices"] = self.choices
        record["settings"] = self.settings
        record["study"] = self.settings.get("study")
        record["label"] = setting_label(self.choices, self.settings)
        record["seconds"] = round(self.seconds, 1)
        record["threads"] = self.threads
        record |= self._precision()
        record["versions"] = versions()
        record["git"] = git_state()
        write_json(self.run_dir / METRICS_FILE, record)
        figures = {name: record["metrics"].get(name) for name in HEADLINES}
        shown = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
        if "val/perplexity" in record["metrics"]:  # a perplexity means nothing without these
            data = record["data"]
            shown.append(f"V {data['vocabulary_size']:,}")
            shown += [f"{split} unknown {rate:.2%}" for split, rate in data["unknown_rate"].items()]
        log.info("wrote %s: %s", self.artifact, ", ".join(shown))

    def _begin(self) -> None:
        if not self.may_continue:
            refuse_used(self.run_dir)
        before = read_start(self.run_dir)
        if before is not None:
            self._compare(before)
            self.threads = before["threads"]
        self._set_precision(before)
        if before is None:
            state = {"threads": self.threads, **self._precision()}
            state |= {"versions": versions(), "git": git_state()}
            write_json(self.run_dir / RUN_FILE, {**self.start, **state})
        self._set_threads()
        for left in self.run_dir.glob("**/.*-????????"):  # by writes that were cut short
            left.unlink(missing_ok=True)

    def _set_threads(self) -> None:
        import torch

        torch.set_num_threads(self.threads)
        if self.processes > 1:  # otherwise Lightning picks a number
            os.environ["OMP_NUM_THREADS"] = str(self.threads)

    def _set_precision(self, before: Mapping[str, Any] | None) -> None:
        """Turn `auto` into a precision: that in which the run, or its sweep, was started.

        Args:
            before: the content of `run.json`; None where this is the start.
        """
        if self.asked_precision != AUTO:
            return
        trainer = self.settings["trainer"]
        native = native_precision(trainer["accelerator"])
        started = self.sweep_precision if before is None else used_precision(before)
        self.precision = started or native
        log.info("trainer.precision=auto: %s", self.precision)
        if self.precision != native:
            it = "the sweep" if before is None else "the run"
            log.warning("%s was started in it; alone, this machine would take %s", it, native)
        self.settings = {**self.settings, "trainer": {**trainer, "precision": self.precision}}

    def _precision(self) -> dict[str, Any]:
        """Return what is recorded of the precision: nothing where nothing is trained by steps."""
        if self.asked_precision is None:
            return {}
        return {"precision": {"asked": self.asked_precision, "used": self.precision}}

    def _compare(self, record: Mapping[str, Any]) -> None:
        """Check that the settings are those that the run was started with.

        Args:
            record: the content of `run.json`.

        Raises:
            ConfigError: one has changed.
        """
        now = json.loads(json.dumps(self.start["settings"]))
        before = as_asked(record, now.get(KEY))
        for key in sorted(before.keys() | now.keys()):
            if key not in CHANGEABLE and not same_setting(key, before.get(key), now.get(key)):
                raise ConfigError(
                    f"{self.run_dir} was started with {key}={before.get(key)}, which is now "
                    f"{now.get(key)}: conf/ or the latest biLM has changed; a resumed run keeps "
                    "its settings, so change it back or start a new run"
                )


@functools.cache
def _default_threads() -> int:
    """Return PyTorch's number of threads, as it is before any run sets it."""
    import torch

    return torch.get_num_threads()
