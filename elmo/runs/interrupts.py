"""SIGINT and SIGTERM: a training step is finished and saved first, everything else ends at once."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger(__name__)


class Interrupted(BaseException):
    """The program was told to end; no `Exception`, so that it is not taken for a failed job.

    Attributes:
        code: the exit code, 128 plus the number of the signal, as in a shell.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.code = 128 + signum


class Interrupts:
    """A context in which both signals raise `Interrupted`, at once or at the next `check`.

    Attributes:
        patient: wait for `check`; the training sets it, and checks when its state is saved.
        pending: the number of the signal that waits, or None.
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
        """Handle the signals again; Lightning installs a handler of its own."""
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
            log.warning("%s: finishing the step; a second one ends at once, unsaved", name)
        else:
            raise Interrupted(signum)

    def check(self) -> None:
        """Raise `Interrupted` where a signal is pending."""
        if self.pending is not None:
            raise Interrupted(self.pending)


interrupts = Interrupts()
