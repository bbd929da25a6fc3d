"""Pretraining speed: tokens per second, time by part, share of the fastest matrix product."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import harness
from benchmarks.place import Place

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from elmo.data.batches import Batch

DESCRIPTION = """\
Trains language models of the same widths and vocabulary in turn, each in its own process:

  elmo           what train_lm.py runs: Lightning, progress bar, metrics, TensorBoard
  bare loop      the same model, data and optimizer without any of these
  packed         the bare loop with packed sequences in the LSTMs
  textbook       two separate nn.LSTM, full softmax on all positions, padding included,
                 batches of 32 documents in random order, Adam
  textbook, memory kept    the same, but the process keeps freed memory, as `elmo` does"""

STEPS = {"elmo": 8, "profiled": 4, "bare loop": 8, "packed": 4, "textbook": 2}  # per turn
TRAINING = (
    "trainer.max_epochs=1000",
    "trainer.limit_val_batches=0",
    "~callbacks.checkpoint",
    "~callbacks.last_checkpoint",
    "~callbacks.early_stopping",
    "~callbacks.samples",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("lm_training", DESCRIPTION)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512], metavar="H")
    harness.add_precisions(parser)
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="turns per peer")
    args = parser.parse_args(arguments)
    speeds: list[harness.Row] = []
    parts: list[harness.Row] = []
    for width, precision in product(args.widths, args.precisions):
        place = Place("cpu", precision)
        here = place, place.overrides()
        peers: dict[str, tuple[harness.Peer, tuple]] = {
            "elmo": (elmo, (width, False, *here)),
            "bare loop": (bare_loop, (width, False, *here)),
            "packed": (bare_loop, (width, True, *here)),
            "textbook": (textbook, (width, False, *here)),
            "textbook, memory kept": (textbook, (width, True, *here)),
            "elmo, profiled": (elmo, (width, True, *here)),
        }
        results = harness.in_turn(peers, args.rounds)
        profiled = results.pop("elmo, profiled")
        speed = {
            name: median(turn["tokens/s"] for turn in turns) for name, turns in results.items()
        }
        for name, turns in results.items():
            row: dict[str, Any] = {"width": width, "precision": precision, "peer": name}
            row["tokens/s"] = speed[name]
            row["times the textbook"] = speed[name] / speed["textbook"]
            row["memory kept"] = speed[name] / speed["textbook, memory kept"]
            row["padding"] = median(turn["padding"] for turn in turns)
            if "share" in turns[0]:
                row["GFLOP/s"] = median(turn["FLOP/s"] for turn in turns) / 1e9
                row["limit GFLOP/s"] = median(turn["limit FLOP/s"] for turn in turns) / 1e9
                row["share of the limit"] = median(turn["share"] for turn in turns)
            speeds.append(row)
        first = profiled[0]["shares"]
        names = sorted(first, key=first.__getitem__, reverse=True)
        shares = {name: median(turn["shares"][name] for turn in profiled) for name in names}
        parts.append({"width": width, "precision": precision, **shares})
    from benchmarks.models import corpus_facts, language_model

    facts = {"data": corpus_facts(language_model(settings(8))[1]), "rounds": args.rounds}
    tables = {"training": speeds, "share of a step of elmo, by part": parts}
    harness.report("lm_training", args.output, facts, tables)


CPU = Place()


def settings(width: int, *overrides: str) -> Any:
    """Return the settings of a pretraining with H = E = `width` that only trains."""
    widths = (f"bilm.hidden_dim={width}", f"embedding.dim={width}")
    return harness.settings("train_lm", *overrides, *TRAINING, *widths)


def elmo(
    turn: harness.Turn,
    width: int,
    profiled: bool,
    place: Place = CPU,
    overrides: Sequence[str] = (),
) -> None:
    """Train as `train_lm.py` does; if `profiled`, a result has the share of each part."""
    from benchmarks.models import language_model, model_flops
    from benchmarks.parts import REST, marked, recorded
    from benchmarks.turns import Turns, fit
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    cfg = settings(width, *overrides)
    task, data = language_model(cfg)
    steps = STEPS["profiled" if profiled else "elmo"]
    turns = Turns(turn, steps, place, partial(model_flops, task.model), profiled)
    with contextlib.ExitStack() as stack:
        if profiled:
            task.training_step = recorded(REST, task.training_step)  # type: ignore[method-assign]
            stack.enter_context(marked(task.model))
        fit(cfg, task, data, turns)


def bare_loop(
    turn: harness.Turn, width: int, packed: bool, place: Place = CPU, overrides: Sequence[str] = ()
) -> None:
    """Train the same model in a plain loop; if `packed`, on packed sequences."""
    import torch
    from torch.nn.utils import clip_grad_norm_

    from benchmarks.models import language_model, make, model_flops, pack
    from benchmarks.turns import Meter
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    cfg = settings(width, *overrides)
    task, data = language_model(cfg)
    model = task.model.to(place.device)
    set_lengths = pack(model.bilm) if packed else None
    optimizer = make(cfg.optimizer)(list(model.parameters()))
    batches = endless(data.train_dataloader())
    result = None
    while True:
        turn(result)
        meter = Meter(place, partial(model_flops, model))
        for _ in range(STEPS["packed" if packed else "bare loop"]):
            batch = next(batches).to(torch.device(place.device))
            if set_lengths:
                set_lengths(batch.lengths)
            optimizer.zero_grad()
            with place.autocast():
                loss = model(batch.tokens, batch.lengths).mean()
            loss.backward()
            clip_grad_norm_(model.parameters(), cfg.trainer.gradient_clip_val)
            optimizer.step()
            meter.batches.append(batch)
        result = meter.result()


def endless(loader: DataLoader) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    while True:
        yield from loader


def textbook(
    turn: harness.Turn,
    width: int,
    keep_memory: bool,
    place: Place = CPU,
    overrides: Sequence[str] = (),
) -> None:
    """Train the textbook biLM."""
    import torch

    from benchmarks.models import Textbook, language_model, random_batches
    from elmo.utils.memory import keep_freed_memory

    if keep_memory:
        keep_freed_memory()
    cfg = settings(width, *overrides)
    _, data = language_model(cfg)
    model = Textbook(len(data.tokenizer), width).to(place.device)
    optimizer = torch.optim.Adam(model.parameters())
    batches = random_batches(data.splits["train"], size=32, seed=cfg.seed)
    result = None
    while True:
        turn(result)
        place.synchronize()
        start = time.perf_counter()
        tokens = padded = 0
        for _ in range(STEPS["textbook"]):
            forward, backward, real = next(batches)
            optimizer.zero_grad()
            with place.autocast():
                loss = model(forward.to(place.device), backward.to(place.device)).sum()
            loss.backward()
            optimizer.step()
            tokens, padded = tokens + real, padded + forward.numel()
        place.synchronize()
        seconds = time.perf_counter() - start
        result = {
            "seconds": seconds,
            "steps": STEPS["textbook"],
            "tokens/s": tokens / seconds,
            "padding": 1 - tokens / padded,
        }


if __name__ == "__main__":
    main()
