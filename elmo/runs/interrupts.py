"""SIGINT and SIGTERM: a training step is finished and kept first, all else ends at once."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger(__name__)


class Interrupted(BaseException):
    """The program was told to end; no `Exception`, so that nobody takes it for a failed job.

    Attributes:
        code: what to exit with, 128 and the number of the signal, as a shell has it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.code = 128 + signum


class Interrupts:
    """While it is entered, both signals raise `Interrupted`: at once, or where it is polite to.

    Attributes:
        patient: wait; the training sets it, and calls `check` when its state is saved.
        pending: the signal that waits.
    """

    def __init__(self) -> None:
        self.patient = False
        self.pending: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self.patient, self.pending = False, None
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
            }
            self.take()
        return self

    def take(self) -> None:
        """Be the only one who handles the signals; Lightning puts a handler of its own in front."""
        for number in self._before:
            signal.signal(number, self._handle)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.patient and self.pending is None:
            self.pending = signum
            name = signal.Signals(signum).name
            log.warning("%s: finishing the step; once more ends at once, without saving", name)
        else:
            raise Interrupted(signum)

    def check(self) -> None:
        if self.pending is not None:
            raise Interrupted(self.pending)


interrupts = Interrupts()
