"""Exceptions that a user can fix, each described in one message."""

from __future__ import annotations

import errno
import threading

from hydra.errors import InstantiationException

from elmo.errors import ElmoError

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # in PyTorch's words, on any device
LOST_PROCESS = (  # in the words of gloo and NCCL
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


def user_message(error: BaseException) -> str | None:
    """Return the message for an exception that the user can fix; None where it is a defect.

    Besides the project's own errors these are: what a constructor refuses in a config (Hydra wraps
    it), a key that the class of a config does not take, a full disk, a lack of memory, a lost
    process of the same training, and settings that Lightning refuses.
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
                f"{link}; free some disk space, or choose another output_dir or cache_dir; "
                "everything that was finished before is complete"
            )
        if isinstance(link, RuntimeError) and any(sign in str(link) for sign in LOST_PROCESS):
            return (
                "another process of this training has ended or does not answer "
                f"({_first_line(link)}); its own messages above say why; resume=RUN_FOLDER "
                "continues from the last checkpoint"
            )
        if isinstance(link, RuntimeError) and "conditioned on metric" in str(link):
            return f"monitor: {link}"
        if type(link).__name__ == "MisconfigurationException":  # importing it takes seconds
            return f"trainer: {link}"
    if isinstance(error, InstantiationException):
        return f"{chain[-1]}; check the settings, see --cfg job"
    return None


def is_full_disk(error: BaseException) -> bool:
    """Tell whether an exception came from a disk to which nothing can be written any more."""
    return any(isinstance(link, OSError) and link.errno in FULL for link in _chain(error))


def report_thread_error(arguments: threading.ExceptHookArgs) -> None:
    """Print the traceback of a thread, unless its disk is full.

    The thread that writes TensorBoard's events raises the same error as the training.
    """
    error = arguments.exc_value
    if not (isinstance(error, OSError) and error.errno in DISK_ERRORS):
        threading.__excepthook__(arguments)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and its causes."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    return chain


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
