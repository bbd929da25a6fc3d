"""The trainer of a run: Lightning's, with callbacks, logger and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

from elmo.errors import ConfigError, check_range
from elmo.runs.folder import Run
from elmo.runs.job import in_multirun
from elmo.training.checkpoints import AtomicCheckpoints
from elmo.training.schedule import MakeOptimizer, check_schedule
from elmo.training.tensorboard import tensorboard_logger
from elmo.utils.ranks import is_launched_apart


def make_trainer(
    run: Run,
    build: Callable[..., lightning.Trainer],
    callbacks: Mapping[str, Callback | None],
    optimizer: MakeOptimizer,
    warmup: float,
    validated: Mapping[str, str],
) -> lightning.Trainer:
    """Return the trainer of a run.

    Args:
        build: makes the trainer, as the config describes it; the run knows the precision.
        callbacks: by name; those that are None are left out.
        optimizer, warmup: see `Task`; checked here, before any work is done.
        validated: `Task.VALIDATED` of the task; checked as well.

    Raises:
        ConfigError: settings with which no training can run.
    """
    check_schedule(optimizer, warmup)
    used = [callback for callback in callbacks.values() if callback]
    check_monitors(used, validated)
    trainer = build(
        precision=run.precision,
        callbacks=used,
        logger=tensorboard_logger(run),
        plugins=[AtomicCheckpoints(run)],
    )
    if trainer.world_size > 1 and not isinstance(trainer.strategy, DDPStrategy):
        raise ConfigError(
            f"trainer.devices and num_nodes make {trainer.world_size} processes under "
            f"{type(trainer.strategy).__name__}; expected trainer=ddp"
        )
    if trainer.world_size > 1 and in_multirun() and not is_launched_apart():
        raise ConfigError(
            f"trainer.devices is {trainer.num_devices} in a multirun: the other processes "
            "would be started with the command line of the whole sweep; start the jobs one by "
            "one, or let hydra/launcher=submitit_slurm start the processes of each"
        )
    if trainer.max_steps < 0:  # otherwise these end the training
        check_range({"trainer.max_epochs": trainer.max_epochs}, at_least=1)
    limits = {
        f"trainer.limit_{name}_batches": getattr(trainer, f"limit_{name}_batches")
        for name in ("train", "val", "test")
    }
    check_range(limits, above=0)  # without validation there is no best epoch
    clip = {"trainer.gradient_clip_val": trainer.gradient_clip_val}
    check_range(clip, at_least=0, otherwise="null")
    return trainer


def check_monitors(callbacks: Collection[Callback], validated: Mapping[str, str]) -> None:
    """Check that what callbacks compare is a figure of each validation, in the right direction.

    Lightning itself finds a wrong name after the first epoch, and a wrong direction never.

    Raises:
        ConfigError: it is not.
    """
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is None:  # it compares nothing
            continue
        if monitor not in validated:
            raise ConfigError(
                f"monitor is {monitor!r}, which no validation measures; expected one of "
                f"{', '.join(validated)}"
            )
        mode, better = getattr(callback, "mode", None), validated[monitor]
        if mode not in (None, better):
            word = "lower" if better == "min" else "higher"
            raise ConfigError(
                f"mode is {mode} with monitor={monitor}, of which a {word} value is better; "
                f"set mode={better}"
            )
