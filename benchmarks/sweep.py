"""Sweeps of the classifier that share the frozen pass, compared with the same jobs one by one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import harness
from benchmarks.corpus import small_jobs

DESCRIPTION = """\
Runs two sweeps of train_cls.py on a biLM of the default size, and their jobs one by one:

  bilstm      three mixers with the BiLSTM head
  pool        five seeds of three mixers with the default head

  shared      one multirun with an empty store: the first job computes the frozen layers
  one by one  a process for each job, store=off; for `pool`, the three jobs of one seed, times five

The rest of a job is what neither the frozen pass nor its epochs nor the final evaluation took:
imports where it is alone, data, validation, files and figures. The first job of a sweep, which
imports for all, does not count there.

The biLM is hardly trained, which has no effect on the times."""

MIXERS = ("trainable", "frozen", "learned")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("sweep", DESCRIPTION)
    parser.add_argument("--rows", type=int, default=5_000, metavar="N", help="first train rows")
    parser.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="seeds of the second sweep"
    )
    args = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        common = small_jobs(args.rows, Path(folder))
        one_batch = [f"trainer.limit_{split}_batches=1" for split in ("train", "val", "test")]
        bilm = Path(folder) / "bilm"  # cut short, so it is never the latest one
        place = f"hydra.run.dir={bilm}"
        run("train_lm", *common, *one_batch, "trainer.max_epochs=1", "evaluate_test=false", place)
        seeds = ",".join(map(str, range(args.seeds)))
        for head, seed in (("bilstm", "0"), ("pool", seeds)):
            settings = (*common, f"bilm_path={bilm}", f"head={head}", "evaluate_test=false")
            rows.append(compare(Path(folder), head, seed, settings))
    harness.report("sweep", args.output, {"rows": args.rows}, {"sweeps": rows})


def compare(folder: Path, head: str, seeds: str, settings: tuple[str, ...]) -> harness.Row:
    """Run a sweep and its jobs one by one."""
    count = len(seeds.split(","))
    store = f"store.folder={folder}/layers-{head}"
    sweep = folder / head
    shared = run(
        "train_cls",
        *settings,
        store,
        f"seed={seeds}",
        f"mixer={','.join(MIXERS)}",
        f"hydra.sweep.dir={sweep}",
        "-m",
    )
    alone = []
    for mixer in MIXERS:
        single = folder / f"{head}-{mixer}"
        seconds = run(
            "train_cls", *settings, "store=off", f"mixer={mixer}", f"hydra.run.dir={single}"
        )
        alone.append((seconds, record(single)))
    finished = sorted(sweep.glob("*/metrics.json"), key=lambda file: file.stat().st_mtime)
    jobs = [record(job.parent) for job in finished]
    one_by_one = count * sum(seconds for seconds, _ in alone)
    return {
        "head": head,
        "jobs": len(jobs),
        "shared (s)": shared,
        "one by one (s)": one_by_one,
        "ratio": shared / one_by_one,
        "frozen pass (s)": max(job["seconds_of"]["frozen_pass"] for job in jobs),
        "epochs": jobs[0]["settings"]["trainer"]["max_epochs"],
        "epoch, shared (s)": mean(job["seconds_of"]["epoch"] for job in jobs),
        "epoch, alone (s)": mean(job["seconds_of"]["epoch"] for _, job in alone),
        "evaluation, shared (s)": mean(job["seconds_of"]["evaluation"] for job in jobs),
        "evaluation, alone (s)": mean(job["seconds_of"]["evaluation"] for _, job in alone),
        "rest, shared (s)": mean(rest(job["seconds"], job) for job in jobs[1:]),
        "rest, alone (s)": mean(rest(seconds, job) for seconds, job in alone),
    }


def rest(seconds: float, job: dict[str, Any]) -> float:
    """Return the seconds of a job without its frozen pass, epochs and final evaluation."""
    parts = job["seconds_of"]
    epochs = job["settings"]["trainer"]["max_epochs"] * parts["epoch"]
    return seconds - parts["frozen_pass"] - epochs - parts["evaluation"]


def record(run_dir: Path) -> dict[str, Any]:
    """Read the record of a finished run."""
    return json.loads((run_dir / "metrics.json").read_text())


def run(script: str, *overrides: str, code: int = 0) -> float:
    """Run a script as a user would, to this exit code; return the seconds that it took."""
    start = time.perf_counter()
    command = [sys.executable, str(harness.ROOT / f"{script}.py"), *overrides]
    finished = subprocess.run(command, cwd=harness.ROOT, capture_output=True, text=True)
    if finished.returncode != code:
        sys.exit(f"{' '.join(command)} failed:\n{finished.stderr}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
