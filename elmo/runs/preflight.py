"""Checks before a run or a sweep starts: its folders can be written to, its launcher works."""

from __future__ import annotations

import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from elmo.errors import ConfigError
from elmo.runs.resume import refuse_used
from elmo.utils.ranks import rank

ROOM = 2**20  # bytes: no run gets far with less


class Preflight(Callback):
    """Ends the program with one line where a run cannot write, or another run has written.

    Without it, Hydra's own attempt would end in a traceback or overwrite the other run's `.hydra/`.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.resume is None and not rank():
            try:
                refuse_used(Path(config.hydra.run.dir))
            except ConfigError as error:
                raise SystemExit(f"error: {error}") from error
        check_folders(config.hydra.run.dir, config.cache_dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_folders(config.hydra.sweep.dir, config.cache_dir)
        check_launcher(config.hydra.launcher)


def check_folders(run_dir: str, cache_dir: str) -> None:
    """Create the folders that a run writes to, and check that they can be written to.

    Raises:
        SystemExit: a folder cannot be created or written to, or its disk is full.
    """
    for key, folder in (("output_dir", run_dir), ("cache_dir", cache_dir)):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ROOM))
        except OSError as error:
            raise SystemExit(f"error: {folder}: {error.strerror}; choose another {key}") from error


def check_launcher(launcher: DictConfig) -> None:
    """Check that a launcher can run the jobs of a sweep on this machine.

    Raises:
        SystemExit: its package is not installed, there is no Slurm, or it would run no job.
    """
    target = launcher._target_
    package = ".".join(target.split(".")[:2])
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"error: hydra/launcher: {error}; it comes with "
            "pip install -r requirements-cluster.txt -c constraints.txt"
        ) from error
    if target.endswith(".SlurmLauncher") and shutil.which("srun") is None:
        raise SystemExit(
            "error: hydra/launcher=submitit_slurm: this machine has no srun; start the sweep on a "
            "machine of the cluster, or try it with hydra/launcher=submitit_local"
        )
    if launcher.get("n_jobs") == 0:
        raise SystemExit(
            "error: hydra.launcher.n_jobs is 0; expected how many jobs run at a time, or -1 for "
            "one per core"
        )
