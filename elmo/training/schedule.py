"""Optimizer and learning rates: checks, groups of parameters, the course of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from elmo.errors import ConfigError, check_range

MakeOptimizer = Callable[[Sequence[Parameter | dict[str, Any]]], Optimizer]


class Group(NamedTuple):
    """Parameters that are trained with the same learning rate."""

    parameters: list[Parameter]
    share: float = 1.0  # of the learning rate
    start: float = 0.0  # epochs before they learn


def check_schedule(optimizer: MakeOptimizer, warmup: float) -> None:
    """Check the settings of optimizer and learning-rate schedule.

    Raises:
        ConfigError: no training can have them.
    """
    check_range({"warmup": warmup}, at_least=0, below=1)
    try:
        optimizer([Parameter(torch.zeros(1))])
    except ValueError as error:
        raise ConfigError(f"optimizer: {error}") from error


def rise_and_fall(steps: float, warmup: float) -> Callable[[int], float]:
    """Return the factor of the learning rate at each step, see `Task`.

    Args:
        steps: of the whole training.
        warmup: share of them in which the factor rises linearly to 1; a cosine then lowers it to 0.
    """
    rise = max(1.0, warmup * steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise))))

    return factor
