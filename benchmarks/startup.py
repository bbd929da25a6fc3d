"""How long commands take to answer `--help`, and `train_lm.py` to its first training step."""

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

  help        `--help` of the scripts and of a command, beside an empty program, and whether it
              imported torch or lightning, as `python -X importtime` lists it
  first step  `train_lm.py` with everything in its caches, from the start of the process to its
              first training step, beside a program that imports the same packages and ends"""

HELP = {
    "empty program": ["-c", "pass"],
    "train_lm.py": ["train_lm.py", "--help"],
    "train_cls.py": ["train_cls.py", "--help"],
    "elmo.commands.embed": ["-m", "elmo.commands.embed", "--help"],
}
HEAVY = ("torch", "lightning")
# What train_lm.py and the modules of elmo that it uses import from other packages.
PACKAGES = (
    *("hydra", "hydra.experimental.callback", "omegaconf", "rich.console", "rich.table", "tqdm"),
    *("numpy", "torch", "torch.utils.data", "torch.utils.tensorboard", "torchmetrics"),
    *("torchmetrics.classification", "lightning", "lightning.pytorch.loggers"),
    *("lightning.pytorch.callbacks", "datasets", "tokenizers", "pyarrow.parquet", "PIL.Image"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg"),
)
MOMENTS = ("fit begins", "first step begins", "first step ends")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = harness.arguments("startup", DESCRIPTION)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="starts of each")
    args = parser.parse_args(arguments)
    tables = {"help": answers(args.rounds), "first step": first_steps(args.rounds)}
    harness.report("startup", args.output, {"rounds": args.rounds}, tables)


def answers(rounds: int) -> list[harness.Row]:
    seconds: dict[str, list[float]] = {name: [] for name in HELP}
    for _ in range(1 + rounds):
        for name, command in HELP.items():
            began = time.perf_counter()
            run(*command)
            seconds[name].append(time.perf_counter() - began)
    rows: list[harness.Row] = []
    for name, command in HELP.items():
        modules = imported_by(*command)
        heavy = sorted({module.partition(".")[0] for module in modules} & set(HEAVY))
        rows.append(
            {
                "program": name,
                "seconds": median(seconds[name][1:]),  # the first reads from the disk
                "modules": len(modules),
                "of them heavy": ", ".join(heavy) or "none",
            }
        )
    return rows


def imported_by(*command: str) -> list[str]:
    """The modules that a Python program imports."""
    listed = run("-X", "importtime", *command).stderr.splitlines()
    return [line.rpartition("|")[2].strip() for line in listed if line.startswith("import time:")]


def first_steps(rounds: int) -> list[harness.Row]:
    """The moments of a start beside bare imports: medians, and the medians of the differences."""
    data = () if os.environ.get("AG_NEWS_DIR") else ("data=toy",)
    imports = "".join(f"import {package}\n" for package in PACKAGES)
    moments: dict[str, list[float]] = {name: [] for name in ("imports end", *MOMENTS)}
    with tempfile.TemporaryDirectory() as folder:
        stamps = Path(folder) / "moments.json"
        for number in range(1 + rounds):
            began = time.time()
            ended = float(run("-c", f"{imports}import time\nprint(time.time())").stdout)
            found = {"imports end": ended - began}
            began = time.time()
            run(
                "train_lm.py",
                *data,
                f"output_dir={folder}",
                f"hydra.run.dir={folder}/{number}",
                *clock(stamps),
            )
            found |= {name: at - began for name, at in json.loads(stamps.read_text()).items()}
            for name, seconds in found.items():
                moments[name].append(seconds)
    return [
        {
            "moment": name,
            "seconds": median(found[1:]),  # the first start may have filled the caches
            "after the imports": median(
                at - imported
                for at, imported in zip(found[1:], moments["imports end"][1:], strict=True)
            ),
        }
        for name, found in moments.items()
    ]


def clock(file: Path) -> tuple[str, str]:
    """Overrides with which a script writes its `MOMENTS` to a file and stops."""
    start = "+callbacks.first_step"
    return f"{start}._target_=benchmarks.first_step.FirstStep", f"{start}.file={file}"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(
        [sys.executable, *command], cwd=harness.ROOT, capture_output=True, text=True
    )
    if finished.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{finished.stderr}")
    return finished


if __name__ == "__main__":
    main()
