"""Locks on the cores of a machine, so that the trainings of one cache folder do not share one."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

PAUSE = 0.5  # seconds between two attempts


@contextlib.contextmanager
def hold_cores(cache_dir: Path, threads: int) -> Iterator[None]:
    """Hold a core for each thread, and wait as long as other trainings hold them.

    Threads of two trainings on one core wait for each other at every operation, which makes both
    slower than running one after the other. The operating system releases the locks when their
    process ends.
    """
    folder = cache_dir / "cores" / socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = min(threads, len(usable_cores()))
    held: list[FileLock] = []
    logged = False
    try:
        while len(held := _lock_cores(folder, wanted)) < wanted:
            _release(held)
            if not logged:
                log.info(
                    "waiting for cores that other runs hold, %d are needed; with a lower threads= "
                    "they would run side by side",
                    wanted,
                )
                logged = True
            time.sleep(PAUSE)
        yield
    finally:
        _release(held)


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _lock_cores(folder: Path, wanted: int) -> list[FileLock]:
    """Lock as many free cores as there are, `wanted` at most; one process does so at a time."""
    held: list[FileLock] = []
    with FileLock(folder / "turn"):
        for core in usable_cores():
            if len(held) < wanted:
                lock = FileLock(folder / f"core-{core}")
                with contextlib.suppress(Timeout):
                    lock.acquire(timeout=0)
                    held.append(lock)
    return held


def _release(held: list[FileLock]) -> None:
    for lock in held:
        lock.release()
