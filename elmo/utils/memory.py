"""Memory: what the C library keeps of freed tensors, and what Python searches for garbage."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones.

    By default glibc returns each large block to the system and requests it again in the next
    training step, with a page fault every 4 KiB: a sixth of a step. Kept memory serves later
    tensors as far as free neighbours merge, which the remainders of aligned blocks may prevent (bug
    30723 of glibc, fixed in 2.39). Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


@contextlib.contextmanager
def exempt_from_collection() -> Iterator[None]:
    """Take whatever exists after the body, such as packages it imports, out of garbage collection.

    PyTorch and Lightning are a million objects that stay to the end. To look at all of them takes a
    quarter of a second, once every few epochs of a small job, and a fifth of the time to import
    them. For the start of a process: garbage from before is not collected later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
