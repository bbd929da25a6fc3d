"""The three-mixer sweep through each launcher, compared with one job after another."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import harness
from benchmarks.corpus import small_jobs
from benchmarks.sweep import MIXERS, run

DESCRIPTION = """\
Runs the sweep of train_cls.py over three mixers and some seeds, through each launcher in turn, in
several rounds, on a biLM of the default size that is hardly trained:

  basic                          one job after another, each with all cores
  basic, 1 thread                one job after another, each with one core
  joblib, submitit_local, ray    a job for each core at a time

Each sweep has an empty store, which its first job fills. The time is that of whole processes,
imports included."""

LAUNCHERS = {
    "basic": (),
    "basic, 1 thread": ("threads=1",),
    "joblib": ("hydra/launcher=joblib",),
    "submitit_local": ("hydra/launcher=submitit_local",),
    "ray": ("hydra/launcher=ray",),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("launchers", DESCRIPTION)
    parser.add_argument("--rows", type=int, default=5_000, metavar="N", help="first train rows")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="seeds per mixer")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="sweeps per launcher")
    parser.add_argument(
        "--launchers", nargs="+", choices=LAUNCHERS, default=list(LAUNCHERS), metavar="NAME"
    )
    args = parser.parse_args(arguments)
    chosen = ["basic", *(name for name in LAUNCHERS if name != "basic" and name in args.launchers)]
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        common = (*small_jobs(args.rows, Path(folder)), "evaluate_test=false")
        one_batch = [f"trainer.limit_{split}_batches=1" for split in ("train", "val", "test")]
        bilm = Path(folder) / "bilm"  # cut short, so it is never the latest one
        run("train_lm", *common, *one_batch, "trainer.max_epochs=1", f"hydra.run.dir={bilm}")
        for turn in range(args.rounds):
            for name in chosen:
                settings = LAUNCHERS[name]
                sweep = Path(folder) / f"{name}-{turn}".replace(", ", "-").replace(" ", "-")
                duration = run(
                    "train_cls",
                    *common,
                    *settings,
                    f"bilm_path={bilm}",
                    f"store.folder={sweep}-layers",
                    f"seed={','.join(map(str, range(args.seeds)))}",
                    f"mixer={','.join(MIXERS)}",
                    f"hydra.sweep.dir={sweep}",
                    "-m",
                )
                seconds[name].append(duration)
                figures[name] = accuracies(sweep)
    with_one_thread = [figures[name] for name in chosen if name != "basic"]
    if any(other != with_one_thread[0] for other in with_one_thread):
        sys.exit(f"the launchers give different accuracies: {figures}")
    rows = [
        {
            "launcher": name,
            "seconds": median(durations),
            "speed-up": median(seconds["basic"]) / median(durations),
        }
        for name, durations in seconds.items()
    ]
    facts = {"rows": args.rows, "jobs": len(MIXERS) * args.seeds, "rounds": args.rounds}
    harness.report("launchers", args.output, facts, {"sweeps": rows})


def accuracies(sweep: Path) -> dict[str, float]:
    """Return the validation accuracies of a sweep by the number of the job."""
    return {
        file.parent.name.partition("_")[0]: json.loads(file.read_text())["metrics"]["val/accuracy"]
        for file in sweep.glob("*/metrics.json")
    }


if __name__ == "__main__":
    main()
