"""A study: every probe of a task on every layer of every encoder, with controls and baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from elmo.models.encoders import Encoder
from elmo.probing.features import Features, word_features
from elmo.probing.fitting import fit_probe
from elmo.probing.labels import ProbingTask, ambiguous, baselines, control_task, task_of
from elmo.probing.probes import KINDS
from elmo.probing.words import SPLITS, Splits

MIX = "mix"
CONFIDENCE = 0.95


class Plan(NamedTuple):
    """What is probed.

    Attributes:
        layers: numbers of layers, and "mix"; None takes all layers and, where there are several,
            their mix. A layer that an encoder does not have is skipped.
        kinds: names in `KINDS`.
        seeds: probes of each kind.
        device: where probes are trained.
    """

    layers: Sequence[str] | None
    kinds: Sequence[str]
    seeds: int
    device: torch.device


def study(
    names: Sequence[str],
    splits: Splits,
    encoders: Mapping[str, Encoder],
    plan: Plan,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Probe the encoders for tasks on the same words.

    Args:
        names: the tasks, which label the words of `splits`.
        encoders: by the name that tables and figures call them.
        tell: is given messages on the progress.

    Returns:
        The record of each task by name, as plain data.

    Raises:
        DataError: see `elmo.probing.labels.task_of`.
    """
    tasks = [task_of(name, splits) for name in names]
    records = {task.name: _facts(task, splits) for task in tasks}
    for encoder_name, encoder in encoders.items():
        features = {split: word_features(encoder, splits[split]) for split in SPLITS}
        size = sum(one.size for one in features.values())
        tell(
            f"{encoder_name}: {encoder.num_layers} layers of width {encoder.dim}, "
            f"{sum(one.vectors.shape[1] for one in features.values()):,} words: "
            f"{size / 1e6:,.0f} MB in half precision"
        )
        for task in tasks:
            record = records[task.name]
            record["encoders"][encoder_name] = {
                "layers": encoder.num_layers,
                "dim": encoder.dim,
                "bytes_of_vectors": size,
                "norms": features["train"].norms,
                "spread": spread(features["train"].vectors),
                "words_without_token": {s: one.without_token for s, one in features.items()},
            }
            for layer in _layers_of(encoder, plan):
                for kind in plan.kinds:
                    found = _probe(task, features, layer, kind, plan)
                    record["results"].append({"encoder": encoder_name, "layer": layer, **found})
                    tell(_told(task.name, encoder_name, record["results"][-1]))
    return records


def _facts(task: ProbingTask, splits: Splits) -> dict[str, Any]:
    """Return the record of a task without results."""
    test = task.splits["test"]
    return {
        "classes": task.names,
        "documents": {split: len(splits[split]) for split in SPLITS},
        "words": {split: len(task.splits[split].places) for split in SPLITS},
        "word_types": len(set(task.splits["train"].forms)) if task.has_types else None,
        "new_types_in_test": float(
            np.isin(test.forms, task.splits["train"].forms, invert=True).mean()
        ),
        "ambiguous_in_test": int(ambiguous(task).sum()),
        "baselines": baselines(task)._asdict(),
        "encoders": {},
        "results": [],
    }


def _layers_of(encoder: Encoder, plan: Plan) -> list[int | str]:
    found: list[int | str] = list(range(encoder.num_layers))
    if encoder.num_layers > 1:
        found.append(MIX)
    return [layer for layer in found if plan.layers is None or str(layer) in plan.layers]


def _probe(
    task: ProbingTask, features: dict[str, Features], layer: int | str, kind: str, plan: Plan
) -> dict[str, Any]:
    """Train the probes of all seeds, and those of the control task."""
    vectors = {split: _of_layer(one.vectors, layer) for split, one in features.items()}
    test, several = task.splits["test"].classes, ambiguous(task)
    fits = [fit_probe(task, vectors, KINDS[kind], seed, plan.device) for seed in range(plan.seeds)]
    right = np.stack([fit.guesses == test for fit in fits])  # (S, n)
    found: dict[str, Any] = {
        "probe": kind,
        "accuracy": interval(right.mean(1)),
        "ambiguous": interval(right[:, several].mean(1)) if several.any() else None,
        "control": None,
        "selectivity": None,
        "epochs": [fit.epochs for fit in fits],
    }
    if task.has_types:
        controls = np.array(
            [_control(task, vectors, kind, seed, plan.device) for seed in range(plan.seeds)]
        )
        found["control"] = interval(controls)
        found["selectivity"] = interval(right.mean(1) - controls)
    if layer == MIX:
        spreads = np.array(spread(features["train"].vectors))
        lambdas = np.array([fit.lambdas for fit in fits])  # (S, L)
        shares = lambdas * spreads / (lambdas * spreads).sum(1, keepdims=True)
        found |= {
            "lambdas": lambdas.tolist(),
            "shares": shares.tolist(),
            "gamma": [fit.gamma for fit in fits],
        }
    return found


def _control(
    task: ProbingTask, vectors: dict[str, Tensor], kind: str, seed: int, device: torch.device
) -> float:
    """Return the accuracy of a probe that is trained on the control task."""
    control = control_task(task, seed)
    guesses = fit_probe(control, vectors, KINDS[kind], seed, device).guesses
    return float((guesses == control.splits["test"].classes).mean())


def _of_layer(vectors: Tensor, layer: int | str) -> Tensor:
    return vectors if isinstance(layer, str) else vectors[layer : layer + 1]  # (L, N, D)


def spread(vectors: Tensor) -> list[float]:
    """Return the root mean square of the distance of the vectors of each layer to their mean (L,).

    Vectors of one length that all point one way differ little: the lambda of such a layer counts
    for less than its size says.

    Args:
        vectors: (L, N, D).
    """
    found = []
    for layer in vectors:
        mean = layer.mean(0, dtype=torch.float32)  # (D,)
        squares = sum(float((block.float() - mean).square().sum()) for block in layer.split(16_384))
        found.append((squares / len(layer)) ** 0.5)
    return found


def interval(values: np.ndarray) -> dict[str, Any]:
    """Return the mean over seeds with the ends of its 95 % interval, by Student's t.

    With one seed there is no interval: its ends are None.
    """
    mean = float(values.mean())
    half = None
    if len(values) > 1:
        error = float(values.std(ddof=1)) / len(values) ** 0.5
        half = float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return {
        "seeds": values.tolist(),
        "mean": mean,
        "low": None if half is None else mean - half,
        "high": None if half is None else mean + half,
    }


def _told(task: str, encoder: str, result: dict[str, Any]) -> str:
    line = f"{task}: {encoder}, layer {result['layer']}, {result['probe']}: "
    line += f"accuracy {result['accuracy']['mean']:.4f}"
    if result["control"]:
        line += f", control {result['control']['mean']:.4f}"
    return line
