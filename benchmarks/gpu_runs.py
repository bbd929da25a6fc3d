"""The scripts on a GPU, from the command line: end to end, repeated, interrupted and resumed."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu_parts import Named, Options, attempt
from benchmarks.gpu_training import differing, in_groups, largest_difference
from benchmarks.processes import speed
from benchmarks.sweep import record, run
from elmo.models.artifacts import load_artifact

INTERRUPTED = 128 + signal.SIGINT  # the exit code
SETTINGS = (
    "data=toy",
    "experiment=gpu",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=5",
)
STEP = 15  # in which a run is interrupted; the whole training has some 70 on the toy corpus


def command_line(options: Options) -> Iterator[Named]:
    """Yield what `experiment=gpu` takes and finds; again; and interrupted and resumed."""
    place = options.of_experiment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = (
            *SETTINGS,
            *place.overrides(),
            f"output_dir={folder}/outputs",
            f"cache_dir={folder}/cache",
        )
        first = folder / "first"

        def pretrain() -> dict[str, Any]:
            seconds = run("train_lm", *common, f"hydra.run.dir={first}")
            return _found("val/perplexity", first, seconds)

        def classify() -> dict[str, Any]:
            to = folder / "classifier"
            chosen = (f"bilm_path={first}", f"hydra.run.dir={to}")
            return _found("val/accuracy", to, run("train_cls", *common, *chosen))

        def again() -> dict[str, Any]:
            to = folder / "again"
            seconds = run("train_lm", *common, f"hydra.run.dir={to}")
            return _against(first, to, seconds)

        def resumed() -> dict[str, Any]:
            to, key = folder / "resumed", "+callbacks.interrupt"
            interrupt = (
                f"{key}._target_=benchmarks.interrupt_at.InterruptAt",
                f"{key}.step={STEP}",
            )
            begun = (*common, *interrupt, f"hydra.run.dir={to}")
            seconds = run("train_lm", *begun, code=INTERRUPTED)
            return _against(first, to, seconds + run("train_lm", f"resume={to}"))

        for title, work in (
            ("train_lm.py", pretrain),
            ("train_cls.py", classify),
            ("train_lm.py again, the same seed", again),
            (f"train_lm.py interrupted in step {STEP} and resumed", resumed),
        ):
            row = attempt(place, work, memory=False)  # runs have their own processes
            yield "command line", {"run": title, "precision": place.precision, **row}


def _found(figure: str, run_dir: Path, seconds: float) -> dict[str, Any]:
    found = record(run_dir)
    return {
        "seconds": seconds,
        "device": found["device"],
        "figure": figure,
        "value": found["metrics"][figure],
        "tokens/s": speed(run_dir),
    }


def _against(first: Path, second: Path, seconds: float) -> dict[str, Any]:
    """Compare a run with the first one."""
    figure = "val/perplexity"
    before, now = (record(folder)["metrics"][figure] for folder in (first, second))
    weights = [load_artifact(folder / "bilstm.pt", "bilm")["state"] for folder in (first, second)]
    return {
        **_found(figure, second, seconds),
        "difference of the figure": now - before,
        "equal bits": not differing(*weights),
        "largest difference": largest_difference(*weights),
        "weights that differ": in_groups(differing(*weights)),
    }
