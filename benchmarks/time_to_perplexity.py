"""The time that `train_lm.py` needs to reach the perplexity of an hour of a textbook biLM."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import harness
from benchmarks.corpus import first_rows

if TYPE_CHECKING:
    from benchmarks.models import Textbook
    from elmo.data.language_model_data import LanguageModelData

DESCRIPTION = """\
Trains two biLMs of width 256 on the same rows and vocabulary in turn, each in its own process, and
validates both from time to time on the same targets: `textbook` (two nn.LSTM, full softmax, batches
of 32 documents in random order, Adam with its default learning rate), and `elmo`, what train_lm.py
runs, with a schedule for this small number of rows.

Time is the processor time of training, without validation, with one thread per peer: it does not
depend on other work that slows the machine down."""

SCHEDULE = ("datamodule.token_budget=1024", "~callbacks.samples", "~callbacks.early_stopping")
SLICE = 120.0  # seconds of training per turn of the textbook


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("time_to_perplexity", DESCRIPTION)
    parser.add_argument("--rows", type=int, default=10_000, metavar="N", help="first train rows")
    parser.add_argument(
        "--validation", type=int, default=1_000, metavar="N", help="validation rows"
    )
    parser.add_argument("--minutes", type=float, default=60, help="minutes of the textbook")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of elmo")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        overrides = (
            *first_rows(args.rows, Path(folder)),
            f"data.validation_size={args.validation}",
            f"cache_dir={folder}/cache",
            f"trainer.max_epochs={args.epochs}",
            *SCHEDULE,
        )
        peers: dict[str, tuple[harness.Peer, tuple]] = {
            "textbook": (textbook, (overrides,)),
            "elmo": (elmo, (overrides,)),
        }
        rounds = max(math.ceil(args.minutes * 60 / SLICE), args.epochs)
        curves = harness.in_turn(peers, rounds, warmup=0)
    facts = curves["elmo"].pop(0)
    slow = [point for point in curves["textbook"] if point["minutes"] <= args.minutes + 1]
    fast = [point for point in curves["elmo"] if point is not None]
    rows = [{"peer": "elmo, last epoch", **fast[-1]}]
    for name, goal in (
        ("at its best", min(slow, key=lambda point: point["perplexity"])),
        ("at the end", slow[-1]),
    ):
        rows.append({"peer": f"textbook, {name}", **goal})
        reached = [point for point in fast if point["perplexity"] <= goal["perplexity"]]
        if reached:
            times = goal["minutes"] / reached[0]["minutes"]
            rows.append({"peer": "elmo, as good as that", **reached[0], "times sooner": times})
    tables = {"validation perplexity": rows, "textbook": slow, "elmo": fast}
    harness.report("time_to_perplexity", args.output, {"data": facts}, tables)


def elmo(turn: harness.Turn, overrides: tuple[str, ...]) -> None:
    """Train as `train_lm.py` does, one epoch per turn."""
    import lightning
    import torch
    from lightning.pytorch.loggers import TensorBoardLogger

    from benchmarks.models import corpus_facts, language_model, make
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    cfg = harness.settings(
        "train_lm", *overrides, "~callbacks.checkpoint", "~callbacks.last_checkpoint"
    )
    task, data = language_model(cfg)

    class Turns(lightning.Callback):
        seconds = 0.0

        def on_train_epoch_start(self, *_: Any) -> None:
            self.start = time.process_time()

        def on_validation_start(self, *_: Any) -> None:
            self.seconds += time.process_time() - self.start

        def on_validation_end(self, trainer: Any, *_: Any) -> None:
            perplexity = trainer.callback_metrics["val/perplexity"].item()
            turn({"minutes": self.seconds / 60, "perplexity": perplexity})

    turn(None)
    turn(corpus_facts(data))
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [*make(cfg.callbacks).values(), Turns()]
        logger = TensorBoardLogger(folder, name="", version="")
        trainer = make(cfg.trainer)(callbacks=callbacks, logger=logger, enable_checkpointing=False)
        trainer.fit(task, data)
    while True:
        turn(None)


def textbook(turn: harness.Turn, overrides: tuple[str, ...]) -> None:
    """Train the textbook biLM, `SLICE` seconds per turn."""
    import torch

    from benchmarks.models import Textbook, language_model, random_batches

    torch.set_num_threads(1)
    cfg = harness.settings("train_lm", *overrides)
    _, data = language_model(cfg)
    model = Textbook(len(data.tokenizer), cfg.bilm.hidden_dim)
    optimizer = torch.optim.Adam(model.parameters())
    batches = random_batches(data.splits["train"], size=32, seed=cfg.seed)
    seconds, slices = 0.0, 1
    turn(None)
    while True:
        start = time.process_time()
        forward, backward, _ = next(batches)
        optimizer.zero_grad()
        model(forward, backward).sum().backward()
        optimizer.step()
        seconds += time.process_time() - start
        if seconds >= slices * SLICE:
            slices += 1
            turn({"minutes": seconds / 60, "perplexity": validate(model, data)})


def validate(model: Textbook, data: LanguageModelData) -> float:
    """Return the perplexity of both directions together, over the same targets as `train_lm.py`."""
    import torch

    from elmo.modules.bilm import reverse_sequences

    total, targets = 0.0, 0
    model.eval()
    with torch.no_grad():
        for batch in data.val_dataloader():
            mirrored = reverse_sequences(batch.tokens, batch.lengths)
            count = int((batch.lengths - 1).sum())
            total += float(model(batch.tokens, mirrored).sum()) * count
            targets += 2 * count
    model.train()
    return math.exp(total / targets)


if __name__ == "__main__":
    main()
