"""The reduction of a document's layers: all, one or a mix of them; every token or a pool."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from elmo.errors import ConfigError
from elmo.modules.mixers import Mixer

Reduction = Callable[[Tensor], Tensor]

POOLS: dict[str, Reduction] = {
    "mean": lambda vectors: vectors.mean(-2),
    "max": lambda vectors: vectors.amax(-2),
}


def reduction(layer: str, pool: str | None, num_layers: int, mixer: Mixer | None) -> Reduction:
    """Return a function that reduces the layers (L, T, D) of a document.

    Args:
        layer: "all" gives (L, T, D); the number of a layer, "mean" (their plain average) and
            "mixed" (their mix) give (T, D).
        pool: "mean" or "max" over the tokens, which gives (L, D) or (D,), zeros where T = 0; None
            keeps the tokens.
        num_layers: L, number of layers.
        mixer: for "mixed", trained on these layers.

    Raises:
        ConfigError: there is no such layer.
    """
    choices: dict[str, Reduction] = {
        "all": lambda layers: layers,
        "mean": lambda layers: layers.mean(0),
        **{str(number): itemgetter(number) for number in range(num_layers)},
    }
    if mixer is not None:
        choices["mixed"] = lambda layers: mix(mixer, layers)
    if layer not in choices:
        expected = ", ".join(sorted({*choices, "mixed"}))
        raise ConfigError(f"--layer is {layer}; with this model it is one of {expected}")
    choose = choices[layer]

    def reduce(layers: Tensor) -> Tensor:
        vectors = choose(layers)
        if pool is None:
            return vectors
        return POOLS[pool](vectors) if vectors.shape[-2] else vectors.sum(-2)

    return reduce


@torch.no_grad()
def mix(mixer: Mixer, layers: Tensor) -> Tensor:
    """Mix the layers of one document, on the CPU: (L, T, D) -> (T, D)."""
    mask = torch.ones(1, layers.shape[1], dtype=torch.bool)
    return mixer(layers.unsqueeze(1), mask).squeeze(0)


def to_half(array: np.ndarray) -> np.ndarray:
    """Convert an array to half precision.

    Raises:
        ConfigError: a number is too large for it.
    """
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float16)
    except FloatingPointError as error:
        raise ConfigError(
            f"--half holds numbers up to 65,504, a vector has {np.abs(array).max():,.0f}; leave "
            "out --half"
        ) from error
