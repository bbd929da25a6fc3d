"""`last.ckpt`: everything that an interrupted training needs to continue bit for bit."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torchmetrics import Metric

from elmo.errors import ArtifactError, ConfigError
from elmo.runs.folder import Run
from elmo.runs.interrupts import Interrupted, interrupts
from elmo.training.task import CHECKPOINT_VERSION
from elmo.utils.ranks import any_rank, gather_from_ranks, rank, rank_and_ranks
from elmo.utils.tensor_files import read_plain, write_plain


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes Lightning's checkpoints atomically: a crash leaves the old one or the new one.

    Lightning itself writes to the system's folder for temporary files, and moving a file from there
    to another disk is a copy that can be cut short.

    Args:
        run: its seconds so far are saved in each checkpoint.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        write_plain(Path(path), {**checkpoint, "seconds": self.run.seconds})

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))


FIELDS = {  # read by this project when a run is resumed
    "loops": dict,
    "global_step": int,
    "state_dict": dict,
    "callbacks": dict,
    "seconds": float,
}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read and check a checkpoint.

    Raises:
        ArtifactError: the file is missing, damaged, of another format, or holds more than tensors
            and plain data.
    """
    try:
        content = read_plain(path)
        if not isinstance(content, dict) or not all(
            isinstance(content.get(name), kind) for name, kind in FIELDS.items()
        ):
            raise ArtifactError(f"{path}: a PyTorch file, but not a checkpoint of a training")
        if (found := content.get("elmo_version")) != CHECKPOINT_VERSION:
            raise ArtifactError(
                f"{path}: format version {found!r}, this code reads {CHECKPOINT_VERSION}; "
                "continue with the version of elmo that wrote it"
            )
    except ArtifactError as error:
        raise ArtifactError(
            f"{error}; or delete the checkpoint, and the run starts from the beginning"
        ) from error
    return content


class LastCheckpoint(Callback):
    """Saves the state of a training regularly, and before a signal ends it.

    It saves after the first step of each epoch, so that no validation is lost, and whenever
    `minutes` have passed; never after the last step of an epoch, whose validation would be skipped.

    Args:
        path: of the checkpoint.
        minutes: between two checkpoints.
    """

    def __init__(self, path: str, minutes: float) -> None:
        self.path = Path(path)
        self.minutes = minutes
        self._saved = time.monotonic()
        self._due = False
        self._stopped = False
        self._random: dict[str, Any] | None = None
        self._loader: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"random": gather_from_ranks(random_states()), "stopped": self._stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        own, ranks = rank_and_ranks()
        if len(state["random"]) != ranks:
            raise ConfigError(
                f"the run was started with {len(state['random'])} processes, now there are "
                f"{ranks}; resume it with as many: check trainer.devices and trainer.num_nodes"
            )
        self._random = state["random"][own]
        self._stopped = state["stopped"]

    def on_load_checkpoint(self, trainer: Any, task: Any, checkpoint: dict[str, Any]) -> None:
        states = checkpoint["callbacks"]
        # No loop of Lightning's saves an early stop: it would train one more epoch.
        trainer.should_stop = states.get(self.state_key, {}).get("stopped", False)
        states_of_loaders = checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader")
        self._loader = states_of_loaders[0] if states_of_loaders else None
        # The run folder may have moved, and a ModelCheckpoint deletes what it saved before: only
        # the file names of these paths are used.
        for state in states.values():
            if "dirpath" in state:
                state["dirpath"] = str(self.path.parent)
                for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                    state[name] = self._here(state[name])
                state["best_k_models"] = {
                    self._here(path): score for path, score in state["best_k_models"].items()
                }

    def _here(self, path: str) -> str:
        return str(self.path.parent / Path(path).name) if path else ""

    def on_train_start(self, trainer: Any, task: Any) -> None:
        interrupts.take()
        interrupts.patient = True
        if rank() and self._random is not None:  # the first process has the sums of all
            for metric in running_metrics(task):
                metric.reset()
        # Lightning gives the loader its state only where the loader is built after the checkpoint
        # is read; a schedule that asks for the number of steps builds it before.
        if self._loader:
            trainer.train_dataloader.load_state_dict(self._loader)
            self._loader = None
        self._saved = time.monotonic()

    def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
        if self._random is not None:
            set_random_states(self._random)
            self._random = None

    def on_validation_end(self, trainer: Any, task: Any) -> None:
        self._due = True

    def on_train_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch:
            return
        # One clock for all processes, and a signal to one of them is meant for all.
        self._due |= any_rank(time.monotonic() - self._saved >= 60 * self.minutes)
        told = any_rank(interrupts.pending is not None)
        # The logger gets the values of this step only afterwards; saving now would lose them.
        every = trainer.log_every_n_steps
        logs = every > 1 and trainer.global_step % every == 0
        if (told or self._due) and not logs:
            self._save(trainer, task)
            interrupts.check()
            if told:
                raise Interrupted(signal.SIGTERM)

    def on_train_end(self, trainer: Any, task: Any) -> None:
        self._stopped = trainer.should_stop
        self._save(trainer, task)
        interrupts.patient = False
        interrupts.check()

    def on_exception(self, trainer: Any, task: Any, exception: BaseException) -> None:
        interrupts.patient = False

    def _save(self, trainer: Any, task: Any) -> None:
        if not all(weights.isfinite().all() for weights in task.parameters()):
            return  # diverged: the next loss shows it, and the previous checkpoint is the last good
        for logger in trainer.loggers:
            logger.experiment.flush()
        with metrics_summed_over_ranks(task):
            trainer.save_checkpoint(self.path)
        self._saved, self._due = time.monotonic(), False


def running_metrics(task: torch.nn.Module) -> list[Metric]:
    """Return the metrics whose sums a checkpoint saves."""
    metrics = [module for module in task.modules() if isinstance(module, Metric)]
    return [metric for metric in metrics if any(metric._persistent.values())]


@contextlib.contextmanager
def metrics_summed_over_ranks(task: torch.nn.Module) -> Iterator[None]:
    """Let the metrics of each process hold the sums of all processes in the body."""
    metrics = running_metrics(task) if rank_and_ranks()[1] > 1 else []
    for metric in metrics:
        metric.sync()
    yield
    for metric in metrics:
        metric.unsync()


def random_states() -> dict[str, Any]:
    """Return the state of every global random generator, as tensors and plain data."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    assert isinstance(keys, np.ndarray)  # the older form is the one that is plain data
    version, internal, following = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "python": (version, list(internal), following),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Restore what `random_states` returned."""
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, following = states["python"]
    random.setstate((version, tuple(internal), following))
