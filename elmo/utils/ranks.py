"""The rank of this process among those that train together, on one machine or on many."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.errors import ConfigError

if TYPE_CHECKING:  # the commands know their rank before they import it
    from torch import Tensor

LAUNCHED = "hydra.job.name=train_ddp_process_"  # in the command that Lightning types for a child
PATIENCE = 3600.0  # seconds that the first process may take to prepare the data


def rank() -> int:
    """Return the rank of this process, as whoever started it says: known before they connect."""
    if is_child():
        return int(os.environ["LOCAL_RANK"])
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if is_launched_apart() else 0


def is_child() -> bool:
    """Tell whether Lightning started this process from the first one, with its command line."""
    return any(argument.startswith(LAUNCHED) for argument in sys.argv)


def is_launched_apart() -> bool:
    """Tell whether torchrun or Slurm starts all processes."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > 1


def rank_and_ranks() -> tuple[int, int]:
    """Return the rank of this process and the number of connected ones; alone it is 0 of 1."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum `values` over all processes, in place; every process has to call this."""
    if rank_and_ranks()[1] > 1:
        from torch import distributed

        distributed.all_reduce(values)
    return values


def gather_from_ranks(value: Any) -> list[Any]:
    """Return the plain data that each process passes; every process has to call this."""
    ranks = rank_and_ranks()[1]
    if ranks == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * ranks
    distributed.all_gather_object(values, value)
    return values


def any_rank(condition: bool) -> bool:
    """Tell whether a condition holds in any process; every process has to call this."""
    if rank_and_ranks()[1] == 1:
        return condition
    import torch
    from torch import distributed

    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    return bool(sum_over_ranks(torch.tensor(float(condition), device=device)) > 0)


def leave_group() -> None:
    """Disconnect this process from the others: from here on it is alone."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextlib.contextmanager
def first_rank_first(marker: Path) -> Iterator[None]:
    """Run the body in the first process, then in the others, which find its work in the cache.

    Args:
        marker: a file that the first process creates when it is done.

    Raises:
        ConfigError: the first process took too long.
    """
    if rank():
        deadline = time.monotonic() + PATIENCE
        while not marker.is_file():
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"{marker}: the first process did not finish preparing the data; its log says "
                    "why, and all processes have to see the same folders"
                )
            time.sleep(0.2)
        yield
        return
    marker.unlink(missing_ok=True)
    yield
    marker.touch()
