"""The cost of `last.ckpt`, from which an interrupted pretraining is resumed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import harness

DESCRIPTION = """\
Trains as train_lm.py does, and writes a checkpoint to the disk of the temporary files after every
few steps. Measures the seconds to write it and the seconds of a step. Each width runs in its own
process, and the processes take turns. The share is that of checkpoints in the time of a training
that writes one every five minutes, the default of callbacks.last_checkpoint.minutes."""

STEPS = 4  # before each checkpoint
MINUTES = 5  # between two checkpoints of a training


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("checkpoint", DESCRIPTION)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512], metavar="H")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="checkpoints per width")
    args = parser.parse_args(arguments)
    results = harness.in_turn({str(w): (train, (w,)) for w in args.widths}, args.rounds)
    rows = []
    for width, turns in results.items():
        step, checkpoint = (median(turn[name] for turn in turns) for name in ("step", "checkpoint"))
        rows.append(
            {
                "width": int(width),
                "M weights": turns[0]["M weights"],
                "MB": turns[0]["MB"],
                "step (s)": step,
                "checkpoint (s)": checkpoint,
                "checkpoint / step": checkpoint / step,
                "share of the time": checkpoint / (60 * MINUTES + checkpoint),
            }
        )
    from benchmarks.lm_training import settings
    from benchmarks.models import corpus_facts, language_model

    facts = {"data": corpus_facts(language_model(settings(8))[1]), "rounds": args.rounds}
    harness.report("checkpoint", args.output, facts, {"checkpoint": rows})


def train(turn: harness.Turn, width: int) -> None:
    """Train a language model of this width; write a checkpoint in each turn."""
    import lightning
    from lightning.pytorch.loggers import TensorBoardLogger

    from benchmarks.lm_training import settings
    from benchmarks.models import language_model, make
    from elmo.runs.folder import Run
    from elmo.training.checkpoints import AtomicCheckpoints, LastCheckpoint
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    cfg = settings(width)
    task, data = language_model(cfg)

    class Turns(lightning.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 0:
                turn(None)
                self.start = time.perf_counter()

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step % STEPS == 0:
                trained = time.perf_counter()
                trainer.save_checkpoint(path)
                turn(
                    {
                        "step": (trained - self.start) / STEPS,
                        "checkpoint": time.perf_counter() - trained,
                        "MB": path.stat().st_size / 1e6,
                        "M weights": sum(p.numel() for p in task.parameters()) / 1e6,
                    }
                )
                self.start = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.ckpt"
        # Its state is part of every checkpoint; by itself it never writes one.
        last = LastCheckpoint(str(path), minutes=1e9)
        run = Run(Path(folder), "bilstm.pt", {}, {"threads": None}, may_continue=False)
        trainer = make(cfg.trainer)(
            callbacks=[*filter(None, make(cfg.callbacks).values()), last, Turns()],
            logger=TensorBoardLogger(folder, name="", version=""),
            plugins=[AtomicCheckpoints(run)],
            enable_checkpointing=False,
        )
        trainer.fit(task, data)


if __name__ == "__main__":
    main()
