"""Scripts in processes that can be killed, from a server that has imported all they need."""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from conftest import ROOT

Fault = Callable[[], None]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["elmo.models.classifier", "elmo.models.language_model", "elmo.training.checkpoints"]
)


def start(name: str, *arguments: str, output: Path, fault: Fault | None = None) -> BaseProcess:
    """`python NAME.py ARGUMENTS`, its output added to a file.

    Args:
        fault: called in the process before the script, to put something in its way.
    """
    process = _context.Process(target=_main, args=(name, arguments, str(output), fault))
    process.start()
    return process


def run(name: str, *arguments: str, output: Path, fault: Fault | None = None) -> int:
    """The exit code of `start`, below zero where a signal killed it."""
    process = start(name, *arguments, output=output, fault=fault)
    process.join(timeout=240)
    assert process.exitcode is not None, f"{name} hangs"
    return process.exitcode


def _main(name: str, arguments: tuple[str, ...], output: str, fault: Fault | None) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(ROOT)
    gc.freeze()  # what was imported before, as a process of its own does after its imports
    sys.argv = [f"{name}.py", *arguments]
    if fault is not None:
        fault()
    runpy.run_path(str(ROOT / f"{name}.py"), run_name="__main__")


class AtStep:
    """Sends a signal to its own process when a training step is about to begin.

    Args:
        training: which of those in the process, from 0.
        group: to the processes that load its batches, too, as a scheduler does.
    """

    def __init__(
        self, step: int, signum: int = signal.SIGKILL, training: int = 0, group: bool = False
    ) -> None:
        self.step = step
        self.signum = signum
        self.training = training
        self.group = group

    def __call__(self) -> None:
        from elmo.training.checkpoints import LastCheckpoint

        if self.group:
            os.setpgid(0, 0)

        plain = LastCheckpoint.on_train_batch_start
        trainings: list[Any] = []

        def begin(callback: Any, trainer: Any, *arguments: Any) -> None:
            plain(callback, trainer, *arguments)
            if trainer not in trainings:
                trainings.append(trainer)
            if trainer.global_step == self.step and len(trainings) == self.training + 1:
                (os.killpg if self.group else os.kill)(os.getpid(), self.signum)

        LastCheckpoint.on_train_batch_start = begin  # type: ignore[method-assign, assignment]


class WhileSaving:
    """Kills its own process when half of a file is written.

    Args:
        number: which of the files that `torch.save` writes, from 0.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self) -> None:
        import io

        import torch

        plain = torch.save
        saved: list[Any] = []

        def save(content: Any, file: Any) -> None:
            if len(saved) == self.number:
                whole = io.BytesIO()
                plain(content, whole)
                file.write(whole.getvalue()[: whole.tell() // 2])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            saved.append(file)
            plain(content, file)

        torch.save = save  # type: ignore[assignment]
