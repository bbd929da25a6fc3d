"""Exceptions that are the user's to mend, each told in one message."""

from __future__ import annotations

import errno
import threading

from hydra.errors import InstantiationException

from elmo.errors import ElmoError

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # as PyTorch says it, on any device
LOST = (  # as gloo and NCCL say it
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Application timeout",
    "Timed out waiting",
    "NCCL",
    "Socket Timeout",
    "timed out after",
)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
DISK_ERRORS = (*FULL, errno.EACCES, errno.EFBIG)


def mistake_of(error: BaseException) -> str | None:
    """What to tell the user where an exception is the user's to mend; None where it is a defect.

    Besides our own errors these are what a constructor says of a config (Hydra wraps it), a key
    that the class of a config does not take, and settings that Lightning refuses.
    """
    chain = _chain(error)
    for link in chain:
        if isinstance(link, ElmoError):
            return str(link)
        if isinstance(link, TypeError) and "unexpected keyword argument" in str(link):
            return f"{link}; every key of a config is an argument of the class in its _target_"
        if isinstance(link, MemoryError) or any(sign in str(link) for sign in OUT_OF_MEMORY):
            return (
                f"out of memory ({_first_line(link)}); take a smaller "
                "datamodule.token_budget or a narrower model"
            )
        if isinstance(link, OSError) and link.errno in DISK_ERRORS:
            return (
                f"{link}; make room, or choose another output_dir or cache_dir; what was finished "
                "before is whole"
            )
        if isinstance(link, RuntimeError) and any(sign in str(link) for sign in LOST):
            return (
                f"another process of this training has ended or does not answer "
                f"({_first_line(link)}); what it said before tells why; resume=RUN_FOLDER goes on "
                "from the last checkpoint"
            )
        if isinstance(link, RuntimeError) and "conditioned on metric" in str(link):
            return f"monitor: {link}"
        if type(link).__name__ == "MisconfigurationException":  # importing it costs seconds
            return f"trainer: {link}"
    if isinstance(error, InstantiationException):
        return f"{chain[-1]}; check the settings, see --cfg job"
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what caused it."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    return chain


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def fills_the_disk(error: BaseException) -> bool:
    """Whether an exception came of a disk that nobody can write to any more."""
    return any(isinstance(link, OSError) and link.errno in FULL for link in _chain(error))


def report_of_a_thread(arguments: threading.ExceptHookArgs) -> None:
    """A traceback, but for a full disk: the writer of TensorBoard's events raises it here, too."""
    error = arguments.exc_value
    if not (isinstance(error, OSError) and error.errno in DISK_ERRORS):
        threading.__excepthook__(arguments)
