"""The cores of a machine, held by the trainings of one cache folder: none computes on another's."""

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

PAUSE = 0.5  # seconds between two looks


@contextlib.contextmanager
def hold_cores(cache_dir: Path, threads: int) -> Iterator[None]:
    """Hold a core for each thread, and wait as long as other trainings hold them.

    Threads of two trainings on one core wait for each other at every operation, which makes both
    slower than one after the other. The locks are the system's: they end with their process.
    """
    folder = cache_dir / "cores" / socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = min(threads, len(usable_cores()))
    held: list[FileLock] = []
    told = False
    try:
        while len(held := _take(folder, wanted)) < wanted:
            _release(held)
            if not told:
                log.info(
                    "waiting for cores that other runs hold, %d are needed; with a lower threads= "
                    "they would run side by side",
                    wanted,
                )
                told = True
            time.sleep(PAUSE)
        yield
    finally:
        _release(held)


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _take(folder: Path, wanted: int) -> list[FileLock]:
    """As many cores as are free, `wanted` at most; one process looks at a time."""
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
