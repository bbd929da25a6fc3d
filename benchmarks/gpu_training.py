"""Pretraining on a GPU: speed by precision, cuDNN's share, the largest batch, repeatability."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import LSTM

from benchmarks import lm_training
from benchmarks.gpu_parts import (
    Named,
    Options,
    against_textbook,
    attempt,
    collect,
    overrides,
    speed,
)
from benchmarks.models import Textbook, corpus_facts, language_model, make
from benchmarks.parts import REST
from benchmarks.place import Place
from benchmarks.steps import Zipf, step
from elmo.data.batches import Batch
from elmo.models.language_model import LanguageModel

SMALLEST = 2048  # tokens of a batch, the default of train_lm.py
LENGTH = 32  # of the documents of these batches, a divisor of all sizes
SLOW = 10  # seconds of a step after which no larger batch is tried
STEPS = 10  # of two trainings that are compared
NONE = "none"
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":16:8")
WORDS = 100  # characters of a warning that names no operation


def pretraining(options: Options) -> Iterator[Named]:
    """Yield the corpus, and the speed of training at each width, in each precision."""
    facts = corpus_facts(
        language_model(lm_training.settings(8, *overrides(options.of_experiment())))[1]
    )
    yield "data", {**facts, "unknown_rate": facts["unknown_rate"]["train"]}
    for width in options.widths:
        for precision in options.precisions:
            place = Place(options.device, precision)
            args = (width, False, place, overrides(place))
            peers = {
                "elmo": lm_training.elmo,
                "bare loop": lm_training.bare_loop,
                "textbook": lm_training.textbook,
            }
            rows = {
                name: attempt(place, partial(speed, peer, args, options.seconds))
                for name, peer in peers.items()
            }
            for row in against_textbook(rows):
                yield "pretraining", {"width": width, "precision": precision, **row}


def parts_of_a_step(options: Options) -> Iterator[Named]:
    """Yield the share of cuDNN and of each part in the time of a step, without the profiler's."""
    place = options.of_experiment()
    for width in options.widths:
        row = attempt(place, partial(_shares, width, place, options.seconds), memory=False)
        yield "share of a step", {"width": width, "precision": place.precision, **row}


def _shares(width: int, place: Place, seconds: float) -> dict[str, float]:
    settings = (place, overrides(place))
    plain = speed(lm_training.elmo, (width, False, *settings), seconds)
    turns = collect(lm_training.elmo, (width, True, *settings), seconds)

    def of_plain_step(part: Callable[[dict[str, Any]], float]) -> float:
        profiled = median(1000 * part(turn) * turn["seconds"] / turn["steps"] for turn in turns)
        return profiled / plain["step (ms)"]

    def share_of(name: str) -> float:
        return of_plain_step(lambda turn: turn["shares"].get(name, 0.0))

    names = dict.fromkeys(name for turn in turns for name in turn["shares"] if name != REST)
    shares = {name: share_of(name) for name in names}
    cudnn = of_plain_step(lambda turn: turn["cuDNN"])
    waiting = {"loop, logging, waiting": 1 - sum(shares.values())}
    return {"step (ms)": plain["step (ms)"], "cuDNN": cudnn, **shares, **waiting}


def largest_batch(options: Options) -> Iterator[Named]:
    """Yield the speed with batches of twice as many tokens each, until they do not fit."""
    place, width = options.of_experiment(), options.widths[0]
    for name, trainee in (("elmo", _ours), ("textbook", _textbook)):
        budget = SMALLEST
        while budget <= options.largest:
            row = attempt(place, partial(_few_steps, trainee, width, budget, place))
            found = {"width": width, "precision": place.precision, "token budget": budget}
            yield "batch size", {"peer": name, **found, **row}
            if row.get("step (ms)", torch.inf) > 1000 * SLOW:
                break
            budget *= 2


def _few_steps(
    trainee: Callable[[int, int, Place], Callable[[], None]], width: int, budget: int, place: Place
) -> dict[str, float]:
    train = trainee(width, budget, place)
    seconds = []
    for _ in range(3):
        place.synchronize()
        start = perf_counter()
        train()
        place.synchronize()
        seconds.append(perf_counter() - start)
    best = min(seconds[1:])
    return {"tokens/s": budget / best, "step (ms)": 1000 * best}


def _ours(width: int, budget: int, place: Place) -> Callable[[], None]:
    cfg = lm_training.settings(width, *overrides(place))
    task, data = language_model(cfg)
    model = task.model.to(place.device)
    optimizer = make(cfg.optimizer)(list(model.parameters()))
    batch = next(Zipf(len(data.tokenizer), cfg.seed).documents(LENGTH, budget))
    batch = batch.to(torch.device(place.device))

    def train() -> None:
        step(model, optimizer, batch, cfg.trainer.gradient_clip_val, place)

    return train


def _textbook(width: int, budget: int, place: Place) -> Callable[[], None]:
    cfg = lm_training.settings(width, *overrides(place))
    _, data = language_model(cfg)
    model = Textbook(len(data.tokenizer), width).to(place.device)
    optimizer = torch.optim.Adam(model.parameters())
    batch = next(Zipf(len(data.tokenizer), cfg.seed).documents(LENGTH, budget))
    tokens = batch.tokens.to(place.device)

    def train() -> None:
        optimizer.zero_grad()
        with place.autocast():
            loss = model(tokens, tokens.flip(1)).sum()
        loss.backward()
        optimizer.step()

    return train


def repeatability(options: Options) -> Iterator[Named]:
    """Yield what differs between two trainings with the same seed, and between precisions."""
    width = options.widths[0]
    exact = Place(options.device, "fp32")
    for precision in options.precisions:
        place = Place(options.device, precision)
        row = attempt(place, partial(_twice, width, place, exact), memory=False)
        yield "the same seed twice", {"width": width, "precision": precision, **row}


def repeatability_with_workspace(options: Options) -> Iterator[Named]:
    """Yield the same with the setting by which NVIDIA makes cuBLAS and cuDNN's LSTM repeatable."""
    os.environ[WORKSPACE[0]] = WORKSPACE[1]  # read when CUDA starts, which it has not yet
    for title, row in repeatability(options):
        yield f"{title}, {'='.join(WORKSPACE)}", row


def _twice(width: int, place: Place, exact: Place) -> dict[str, Any]:
    weights, losses = zip(*(_trained(width, place) for _ in range(2)), strict=True)
    different = [n for n, (a, b) in enumerate(zip(*losses, strict=True), start=1) if a != b]
    once, again = (_gradients(width, place) for _ in range(2))
    with exact.active():
        reference = _gradients(width, exact)
    return {
        "steps": STEPS,
        "equal bits": not differing(*weights),
        "largest difference": largest_difference(*weights),
        "weights that differ": in_groups(differing(*weights)),
        "first loss that differs, of step": different[0] if different else NONE,
        "gradients of one step that differ": in_groups(differing(once, again)),
        **_with_deterministic_algorithms(width, place),
        "LSTMs give": _dtype_of_lstms(width, place),
        "gradient error against fp32": relative_error(once, reference),
    }


def _model_and_batch(width: int, place: Place, *changes: str) -> tuple[LanguageModel, Batch, Any]:
    cfg = lm_training.settings(width, *overrides(place), *changes)
    task, data = language_model(cfg)
    batch = next(iter(data.train_dataloader())).to(torch.device(place.device))
    torch.manual_seed(cfg.seed)  # the same dropout each time
    return task.model.to(place.device), batch, cfg


def _trained(width: int, place: Place) -> tuple[dict[str, Tensor], list[float]]:
    """Return the weights after `STEPS` steps on one batch, and the loss of each step."""
    model, batch, cfg = _model_and_batch(width, place)
    optimizer = make(cfg.optimizer)(list(model.parameters()))
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = _loss(model, batch, place)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), cfg.trainer.gradient_clip_val)
        optimizer.step()
        losses.append(loss.item())
    return {name: weight.detach().cpu() for name, weight in model.named_parameters()}, losses


def _gradients(width: int, place: Place) -> dict[str, Tensor]:
    """Return the gradients of one step without dropout, whose masks depend on the precision."""
    model, batch, _ = _model_and_batch(width, place, "bilm.dropout=0")
    _loss(model, batch, place).backward()
    named = model.named_parameters()
    return {name: weight.grad.cpu() for name, weight in named if weight.grad is not None}


def _loss(model: LanguageModel, batch: Batch, place: Place) -> Tensor:
    with place.autocast():
        return model(batch.tokens, batch.lengths).mean()


def _dtype_of_lstms(width: int, place: Place) -> str:
    """Return the type of what an LSTM gives; autocast takes fp16 for cuDNN's, even under bf16."""
    lstm = LSTM(width, width, batch_first=True, device=place.device)
    with place.autocast():
        return str(lstm(torch.zeros(1, 2, width, device=place.device))[0].dtype)


def _with_deterministic_algorithms(width: int, place: Place) -> dict[str, str]:
    """Return what differs where PyTorch takes deterministic algorithms, and which it lacks."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            once, again = (_gradients(width, place) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    said = [str(warning.message) for warning in caught]
    lacking = {text.split(" does not have a")[0][:WORDS] for text in said if "determin" in text}
    return {
        "... with deterministic algorithms": in_groups(differing(once, again)),
        "PyTorch warns of": "; ".join(sorted(lacking)) or NONE,
    }


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    """Return the names of the tensors that are not equal bit for bit."""
    return [name for name in first if not torch.equal(first[name], second[name])]


def largest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Return the largest absolute difference of two numbers at the same place."""
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def relative_error(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Return the norm of the difference of all tensors, as a share of that of the exact ones."""
    names = [name for name in exact if name in found]
    difference = sum(float((found[name] - exact[name]).square().sum()) for name in names)
    return (difference / sum(float(exact[name].square().sum()) for name in names)) ** 0.5


def in_groups(names: list[str]) -> str:
    """Return the parts of the model to which the names belong, with the number of tensors."""
    groups = [".".join(name.split(".")[:2]) for name in names]
    return ", ".join(f"{group} ({groups.count(group)})" for group in dict.fromkeys(groups)) or NONE
