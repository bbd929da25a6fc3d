"""A callback that interrupts its own run, as Ctrl-C would."""

from __future__ import annotations

import os
import signal
from typing import Any

import lightning


class InterruptAt(lightning.Callback):
    """A callback that sends SIGINT to its process when a step is about to begin.

    Args:
        step: number of steps done before.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)
