"""Pretraining speed: tokens per second, time by part, share of the matrix-multiply rate."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import harness

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from elmo.data.batches import Batch
    from elmo.models.language_model import LanguageModel

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
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="turns per peer")
    args = parser.parse_args(arguments)
    speeds: list[harness.Row] = []
    parts: list[harness.Row] = []
    for width in args.widths:
        peers: dict[str, tuple[harness.Peer, tuple]] = {
            "elmo": (elmo, (width, False)),
            "bare loop": (bare_loop, (width, False)),
            "packed": (bare_loop, (width, True)),
            "textbook": (textbook, (width, False)),
            "textbook, memory kept": (textbook, (width, True)),
            "elmo, profiled": (elmo, (width, True)),
        }
        results = harness.in_turn(peers, args.rounds)
        profiled = results.pop("elmo, profiled")
        speed = {
            name: median(turn["tokens/s"] for turn in turns) for name, turns in results.items()
        }
        for name, turns in results.items():
            row = {"width": width, "peer": name, "tokens/s": speed[name]}
            row["times the textbook"] = speed[name] / speed["textbook"]
            row["padding"] = median(turn["padding"] for turn in turns)
            if "share" in turns[0]:
                row["GFLOP/s"] = median(turn["FLOP/s"] for turn in turns) / 1e9
                row["mm GFLOP/s"] = median(turn["mm FLOP/s"] for turn in turns) / 1e9
                row["share of mm rate"] = median(turn["share"] for turn in turns)
            speeds.append(row)
        names = sorted(profiled[0], key=profiled[0].__getitem__, reverse=True)
        shares = {name: median(turn[name] for turn in profiled) for name in names}
        parts.append({"width": width, **shares})
    from benchmarks.models import corpus_facts, language_model

    facts = {"data": corpus_facts(language_model(settings(8))[1]), "rounds": args.rounds}
    tables = {"training": speeds, "share of a step of elmo, by part": parts}
    harness.report("lm_training", args.output, facts, tables)


def settings(width: int) -> Any:
    """Return the settings of a pretraining with H = E = `width` that only trains."""
    widths = (f"bilm.hidden_dim={width}", f"embedding.dim={width}")
    return harness.settings("train_lm", *TRAINING, *widths)


class Meter:
    """The batches of a turn, and its time."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.start = time.perf_counter()

    def result(self, model: LanguageModel) -> dict[str, Any]:
        """Return the speed, and its share of the matrix-multiply rate of this process."""
        from benchmarks.models import model_flops

        seconds = time.perf_counter() - self.start
        tokens = sum(int(batch.lengths.sum()) for batch in self.batches)
        rate = sum(model_flops(model, batch) for batch in self.batches) / seconds
        mm_rate = harness.matrix_multiply_rate()
        return {
            "seconds": seconds,
            "tokens/s": tokens / seconds,
            "padding": 1 - tokens / sum(batch.tokens.numel() for batch in self.batches),
            "FLOP/s": rate,
            "mm FLOP/s": mm_rate,
            "share": rate / mm_rate,
        }


def elmo(turn: harness.Turn, width: int, profiled: bool) -> None:
    """Train as `train_lm.py` does; if `profiled`, a result is the share of each part."""
    import lightning
    from lightning.pytorch.loggers import TensorBoardLogger
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.models import language_model, make
    from benchmarks.parts import REST, marked, recorded, shares_of_parts
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    cfg = settings(width)
    task, data = language_model(cfg)

    class Turns(lightning.Callback):
        """The last callback of a batch; it holds the training between turns."""

        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 0:
                self.begin(None)

        def on_train_batch_end(self, trainer: Any, task: Any, _: Any, batch: Any, __: Any) -> None:
            self.meter.batches.append(batch)
            if trainer.global_step % STEPS["profiled" if profiled else "elmo"] == 0:
                result = self.meter.result(task.model)
                if profiled:
                    self.profile.stop()
                    result = shares_of_parts(self.profile.events(), result["seconds"])
                self.begin(result)

        def begin(self, result: Any) -> None:
            turn(result)
            if profiled:
                self.profile = profile(activities=[ProfilerActivity.CPU])
                self.profile.start()
            self.meter = Meter()

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if profiled:
            task.training_step = recorded(REST, task.training_step)  # type: ignore[method-assign]
            stack.enter_context(marked(task.model))
        callbacks = [*filter(None, make(cfg.callbacks).values()), Turns()]
        logger = TensorBoardLogger(folder, name="", version="")
        trainer = make(cfg.trainer)(callbacks=callbacks, logger=logger, enable_checkpointing=False)
        trainer.fit(task, data)


def bare_loop(turn: harness.Turn, width: int, packed: bool) -> None:
    """Train the same model in a plain loop; if `packed`, on packed sequences."""
    from torch.nn.utils import clip_grad_norm_

    from benchmarks.models import language_model, make, pack
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    cfg = settings(width)
    task, data = language_model(cfg)
    model = task.model
    set_lengths = pack(model.bilm) if packed else None
    optimizer = make(cfg.optimizer)(list(model.parameters()))
    batches = endless(data.train_dataloader())
    result = None
    while True:
        turn(result)
        meter = Meter()
        for _ in range(STEPS["packed" if packed else "bare loop"]):
            batch = next(batches)
            if set_lengths:
                set_lengths(batch.lengths)
            optimizer.zero_grad()
            model(batch.tokens, batch.lengths).mean().backward()
            clip_grad_norm_(model.parameters(), cfg.trainer.gradient_clip_val)
            optimizer.step()
            meter.batches.append(batch)
        result = meter.result(model)


def endless(loader: DataLoader) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    while True:
        yield from loader


def textbook(turn: harness.Turn, width: int, keep_memory: bool) -> None:
    """Train the textbook biLM."""
    import torch

    from benchmarks.models import Textbook, language_model, random_batches
    from elmo.utils.memory import keep_freed_memory

    if keep_memory:
        keep_freed_memory()
    cfg = settings(width)
    _, data = language_model(cfg)
    model = Textbook(len(data.tokenizer), width)
    optimizer = torch.optim.Adam(model.parameters())
    batches = random_batches(data.splits["train"], size=32, seed=cfg.seed)
    result = None
    while True:
        turn(result)
        start = time.perf_counter()
        tokens = padded = 0
        for _ in range(STEPS["textbook"]):
            forward, backward, real = next(batches)
            optimizer.zero_grad()
            model(forward, backward).sum().backward()
            optimizer.step()
            tokens, padded = tokens + real, padded + forward.numel()
        seconds = time.perf_counter() - start
        result = {"seconds": seconds, "tokens/s": tokens / seconds, "padding": 1 - tokens / padded}


if __name__ == "__main__":
    main()
