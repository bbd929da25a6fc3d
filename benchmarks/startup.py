"""The time of `--help`, and the time from the start of `train_lm.py` to its first training step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import harness

DESCRIPTION = """\
Starts commands in turn, each in a new process:

  help        `--help` of scripts and commands, compared with an empty program, and whether it
              imported torch or lightning, according to `python -X importtime`
  first step  `train_lm.py` with everything in its caches, from the start of the process to its
              first training step, compared with a program that only imports the same packages"""

HELP = {
    "empty program": ["-c", "pass"],
    "train_lm.py": ["train_lm.py", "--help"],
    "train_cls.py": ["train_cls.py", "--help"],
    "elmo": ["-m", "elmo", "--help"],
    "elmo embed": ["-m", "elmo", "embed", "--help"],
}
HEAVY = ("torch", "lightning")
# The packages that train_lm.py and the modules of elmo that it uses import.
PACKAGES = (
    *("hydra", "hydra.experimental.callback", "omegaconf", "rich.console", "rich.table", "tqdm"),
    *("numpy", "torch", "torch.utils.data", "torch.utils.tensorboard", "torchmetrics"),
    *("torchmetrics.classification", "lightning", "lightning.pytorch.loggers"),
    *("lightning.pytorch.callbacks", "datasets", "tokenizers", "pyarrow.parquet", "PIL.Image"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "filelock"),
    "tensorboard.backend.event_processing.event_accumulator",
)
MOMENTS = ("fit begins", "first step begins", "first step ends")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("startup", DESCRIPTION)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="starts per program")
    args = parser.parse_args(arguments)
    tables = {"help": help_times(args.rounds), "first step": first_steps(args.rounds)}
    harness.report("startup", args.output, {"rounds": args.rounds}, tables)


def help_times(rounds: int) -> list[harness.Row]:
    """Time the programs of `HELP`, and count the modules that each imports."""
    seconds: dict[str, list[float]] = {name: [] for name in HELP}
    for _ in range(1 + rounds):
        for name, command in HELP.items():
            start = time.perf_counter()
            run(*command)
            seconds[name].append(time.perf_counter() - start)
    rows: list[harness.Row] = []
    for name, command in HELP.items():
        modules = imported_by(*command)
        heavy = sorted({module.partition(".")[0] for module in modules} & set(HEAVY))
        rows.append(
            {
                "program": name,
                "seconds": median(seconds[name][1:]),  # the first reads from the disk
                "modules": len(modules),
                "heavy ones": ", ".join(heavy) or "none",
            }
        )
    return rows


def imported_by(*command: str) -> list[str]:
    """List the modules that a Python program imports."""
    listed = run("-X", "importtime", *command).stderr.splitlines()
    return [line.rpartition("|")[2].strip() for line in listed if line.startswith("import time:")]


def first_steps(rounds: int) -> list[harness.Row]:
    """Time the moments of a start, and how long after bare imports they come, as medians."""
    data = () if os.environ.get("AG_NEWS_DIR") else ("data=toy",)
    imports = "".join(f"import {package}\n" for package in PACKAGES)
    moments: dict[str, list[float]] = {name: [] for name in ("imports end", *MOMENTS)}
    with tempfile.TemporaryDirectory() as folder:
        stamps = Path(folder) / "moments.json"
        for number in range(1 + rounds):
            start = time.time()
            end = float(run("-c", f"{imports}import time\nprint(time.time())").stdout)
            seconds = {"imports end": end - start}
            start = time.time()
            run(
                "train_lm.py",
                *data,
                f"output_dir={folder}",
                f"hydra.run.dir={folder}/{number}",
                *stop_at_first_step(stamps),
            )
            seconds |= {name: at - start for name, at in json.loads(stamps.read_text()).items()}
            for name, value in seconds.items():
                moments[name].append(value)
    return [
        {
            "moment": name,
            "seconds": median(times[1:]),  # the first start may have filled the caches
            "after the imports": median(
                at - imported
                for at, imported in zip(times[1:], moments["imports end"][1:], strict=True)
            ),
        }
        for name, times in moments.items()
    ]


def stop_at_first_step(file: Path) -> tuple[str, str]:
    """Return the overrides with which a script writes its `MOMENTS` to a file and stops."""
    key = "+callbacks.first_step"
    return f"{key}._target_=benchmarks.first_step.FirstStep", f"{key}.file={file}"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments; a program that fails ends the benchmark."""
    finished = subprocess.run(
        [sys.executable, *command], cwd=harness.ROOT, capture_output=True, text=True
    )
    if finished.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{finished.stderr}")
    return finished


if __name__ == "__main__":
    main()
