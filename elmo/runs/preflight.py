"""Checks before a run or a sweep starts, and no folder left of one that was refused."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from elmo.errors import ConfigError
from elmo.runs.record import RUN_FILE
from elmo.runs.resume import refuse_used
from elmo.utils.ranks import rank

ROOM = 2**20  # bytes: no run gets far with less
LOCKS = (".lock", ".prepared")


class Preflight(Callback):
    """Ends the program with one line where a run cannot write, or another run has written.

    Without it, Hydra's own attempt would end in a traceback or overwrite the other run's `.hydra/`.
    A run that is refused before any work leaves no folder; what was there before is never deleted.
    """

    def __init__(self) -> None:
        self.start: Start | None = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.resume is None and not rank():
            try:
                refuse_used(Path(config.hydra.run.dir))
            except ConfigError as error:
                raise SystemExit(f"error: {error}") from error
            log = f"{config.hydra.job.name}.log"
            subdir = config.hydra.output_subdir
            self.start = Start(Path(config.hydra.run.dir), {RUN_FILE, *LOCKS, log}, subdir)
        with undone_if_refused(self.start):
            check_folders(config.hydra.run.dir, config.cache_dir)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Undo the start of a run that was refused; its message is printed after this."""
        result = kwargs["job_return"]._return_value  # its property would print, and raise
        if self.start and isinstance(result, CompactHydraException):
            self.start.undo()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_launcher(config.hydra.launcher)
        start = Start(Path(config.hydra.sweep.dir), {"multirun.yaml"})
        with undone_if_refused(start):
            check_folders(config.hydra.sweep.dir, config.cache_dir)
        # Hydra tells no callback that the settings of a job do not compose.
        atexit.register(start.undo)


class Start:
    """What was there before a run or a sweep started; made before the first of its files.

    Args:
        folder: of the run or sweep.
        files: what a start leaves in it before any work.
        hydra_subdir: the folder in it where Hydra records the settings.
    """

    def __init__(self, folder: Path, files: set[str], hydra_subdir: str | None = None) -> None:
        self.folder = folder
        self.files = files
        self.hydra_subdir = hydra_subdir
        self.new = [path for path in (folder, *folder.parents) if not path.exists()]
        self.was_empty = bool(self.new) or (folder.is_dir() and not any(folder.iterdir()))

    def undo(self) -> None:
        """Remove what the start made, unless there is more in the folder or was before."""
        if not self.was_empty or not self.folder.is_dir():
            return
        left = list(self.folder.iterdir())
        if not all(path.name in self.files or self._is_hydras(path) for path in left):
            return
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        with contextlib.suppress(OSError):  # one that is not empty
            for folder in self.new:
                folder.rmdir()

    def _is_hydras(self, path: Path) -> bool:
        names = {"config.yaml", "hydra.yaml", "overrides.yaml"}
        return (
            path.name == self.hydra_subdir
            and path.is_dir()
            and all(file.name in names for file in path.iterdir())
        )


@contextlib.contextmanager
def undone_if_refused(start: Start | None) -> Iterator[None]:
    """Undo a start where the body ends the program."""
    try:
        yield
    except SystemExit:
        if start:
            start.undo()
        raise


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
