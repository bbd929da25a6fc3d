"""The folders that a run writes to: looked at before anything is done."""

from __future__ import annotations

import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from elmo.errors import ConfigError
from elmo.ranks import rank
from elmo.resume import refuse_used


class Places(Callback):
    """Ends the program with one line where a run could not write, or another run has written.

    Hydra's own attempt would end in a traceback, or rewrite the other run's `.hydra/`.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.resume is None and not rank():
            try:
                refuse_used(Path(config.hydra.run.dir))
            except ConfigError as error:
                raise SystemExit(f"error: {error}") from error
        check_places(config.hydra.run.dir, config.cache_dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_places(config.hydra.sweep.dir, config.cache_dir)
        check_launcher(config.hydra.launcher)


def check_launcher(launcher: DictConfig) -> None:
    """
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
            "one a core"
        )


ROOM = 2**20  # bytes: no run gets far with less


def check_places(run_dir: str, cache_dir: str) -> None:
    """
    Raises:
        SystemExit: a folder cannot be made or written to, or its disk is full.
    """
    for key, folder in (("output_dir", run_dir), ("cache_dir", cache_dir)):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ROOM))
        except OSError as error:
            raise SystemExit(f"error: {folder}: {error.strerror}; choose another {key}") from error
