"""Training one probe with early stopping on the validation split."""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from elmo.probing.labels import UNSEEN, ProbingTask
from elmo.probing.probes import Probe

LEARNING_RATE = 1e-3
LAMBDA_LEARNING_RATE = 1e-2  # of w, whose few numbers have a long way to go
BATCH = 256
PATIENCE = 3  # epochs in a row without a new minimum of the validation loss
MAX_EPOCHS = 100


class Fit(NamedTuple):
    """A trained probe on the test split.

    Attributes:
        guesses: the class of each test word (n,).
        epochs: epochs trained, up to the one whose weights were kept.
        lambdas: of a mix (L,).
        gamma: of a mix.
    """

    guesses: np.ndarray
    epochs: int
    lambdas: list[float] | None
    gamma: float | None


def fit_probe(
    task: ProbingTask,
    vectors: dict[str, Tensor],
    hidden_dim: int | None,
    seed: int,
    device: torch.device,
) -> Fit:
    """Train a probe and let it guess the test split.

    After Hewitt and Liang (2019): Adam with the rate 0.001, halved after each epoch without a new
    minimum of the validation loss, until there are `PATIENCE` of them in a row; the weights of the
    minimum are kept. There is no weight decay: early stopping is what holds the probe.

    Args:
        vectors: of all words of each split (L, N, D).
        hidden_dim: see `Probe`.
        seed: draws the weights and the order of the words.
    """
    train, validation = task.splits["train"], task.splits["validation"]
    layers, _, dim = vectors["train"].shape
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = Probe(layers, dim, len(task.names), hidden_dim).to(device)
    optimizer = torch.optim.Adam(_groups(probe), fused=True)
    places, classes = torch.from_numpy(train.places), torch.from_numpy(train.classes)
    best, best_epoch, waited = math.inf, 0, 0
    kept = copy.deepcopy(probe.state_dict())
    for epoch in range(1, MAX_EPOCHS + 1):
        for batch in torch.randperm(len(places), generator=generator).split(BATCH):
            logits = probe(_batch(vectors["train"], places[batch], device))
            loss = functional.cross_entropy(logits, classes[batch].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        known = validation.classes != UNSEEN
        logits = _logits(probe, vectors["validation"], validation.places, device)[known]
        target = torch.from_numpy(validation.classes[known])
        value = float(functional.cross_entropy(logits, target)) if len(target) else math.inf
        if value < best:
            best, best_epoch, waited = value, epoch, 0
            kept = copy.deepcopy(probe.state_dict())
            continue
        waited += 1
        if waited == PATIENCE:
            break
        for group in optimizer.param_groups:
            group["lr"] /= 2
    probe.load_state_dict(kept)
    guesses = _logits(probe, vectors["test"], task.splits["test"].places, device).argmax(1)
    mixer = probe.mixer
    return Fit(
        guesses.numpy(),
        best_epoch,
        None if mixer is None else mixer.lambdas().tolist(),
        None if mixer is None else mixer.gamma.item(),
    )


def _groups(probe: Probe) -> list[dict[str, Any]]:
    lambdas = [] if probe.mixer is None else [probe.mixer.weights]
    others = [one for one in probe.parameters() if not any(one is w for w in lambdas)]
    return [
        {"params": others, "lr": LEARNING_RATE},
        {"params": lambdas, "lr": LAMBDA_LEARNING_RATE},
    ]


def _batch(vectors: Tensor, places: Tensor, device: torch.device) -> Tensor:
    # Three times as fast as vectors[:, places].
    layers = [layer.index_select(0, places).to(device) for layer in vectors]
    return torch.stack(layers).float()  # (L, B, D)


@torch.no_grad()
def _logits(probe: Probe, vectors: Tensor, places: np.ndarray, device: torch.device) -> Tensor:
    """Return the logits (n, C) of the words of a split, on the CPU."""
    batches = torch.from_numpy(places).split(16 * BATCH)
    return torch.cat([probe(_batch(vectors, batch, device)).cpu() for batch in batches])
