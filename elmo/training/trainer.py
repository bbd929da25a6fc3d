"""The trainer of a run: Lightning's, with callbacks, logger and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

from elmo.errors import ConfigError, check_range
from elmo.runs.folder import Run
from elmo.runs.job import in_multirun
from elmo.training.checkpoints import AtomicCheckpoints
from elmo.training.task import MakeOptimizer, check_schedule
from elmo.training.tensorboard import tensorboard_logger
from elmo.utils.ranks import is_launched_apart


def make_trainer(
    run: Run,
    build: Callable[..., lightning.Trainer],
    callbacks: Mapping[str, Callback | None],
    optimizer: MakeOptimizer,
    warmup: float,
) -> lightning.Trainer:
    """Return the trainer of a run.

    Args:
        build: makes the trainer, as the config describes it.
        callbacks: by name; those that are None are left out.
        optimizer, warmup: see `Task`; checked here, before any work is done.

    Raises:
        ConfigError: settings with which no training can run.
    """
    check_schedule(optimizer, warmup)
    trainer = build(
        callbacks=[callback for callback in callbacks.values() if callback],
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
    clip = {"trainer.gradient_clip_val": trainer.gradient_clip_val}
    check_range(clip, at_least=0, otherwise="null")
    return trainer
