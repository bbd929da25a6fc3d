"""Pretraining in several processes, compared with one process that has as many threads."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import harness
from benchmarks.corpus import small_jobs
from benchmarks.sweep import run

DESCRIPTION = """\
Runs train_lm.py on the first rows in turn, in several rounds: in one process with one thread, in
one process with two threads, and in two processes under trainer=ddp with one thread each. All have
the same batches. Tokens per second are the median over the steps of the last epoch."""

PEERS = {
    "1 process, 1 thread": ("threads=1",),
    "1 process, 2 threads": ("threads=2",),
    "2 processes, 1 thread each": ("threads=1", "trainer=ddp", "trainer.accelerator=cpu"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("processes", DESCRIPTION)
    parser.add_argument("--rows", type=int, default=5_000, metavar="N", help="first train rows")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs per peer")
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512], metavar="H")
    args = parser.parse_args(arguments)
    rows: list[harness.Row] = []
    with tempfile.TemporaryDirectory() as folder:
        common = (
            *small_jobs(args.rows, Path(folder)),
            "trainer.max_epochs=2",
            "trainer.log_every_n_steps=1",
            "trainer.limit_val_batches=1",
            "trainer.limit_test_batches=1",
            "evaluate_test=false",
        )
        for width in args.widths:
            speeds: dict[str, list[float]] = {name: [] for name in PEERS}
            widths = (f"bilm.hidden_dim={width}", f"embedding.dim={width}")
            for turn in range(args.rounds):
                for number, (name, settings) in enumerate(PEERS.items()):
                    run_dir = Path(folder) / f"{width}-{turn}-{number}"
                    run("train_lm", *common, *widths, *settings, f"hydra.run.dir={run_dir}")
                    speeds[name].append(speed(run_dir))
            two_threads = median(speeds["1 process, 2 threads"])
            rows += [
                {
                    "width": width,
                    "peer": name,
                    "tokens/s": median(rates),
                    "of 2 threads": median(rates) / two_threads,
                }
                for name, rates in speeds.items()
            ]
    facts = {"rows": args.rows, "rounds": args.rounds}
    harness.report("processes", args.output, facts, {"pretraining": rows})


def speed(run_dir: Path) -> float:
    """Return the median tokens per second of the second half of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir))
    events.Reload()
    values = [event.value for event in events.Scalars("tokens_per_second")]
    return median(values[len(values) // 2 :])


if __name__ == "__main__":
    main()
