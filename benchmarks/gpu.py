"""Everything that the documentation says of GPUs, measured on one card."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import harness
from benchmarks.gpu_parts import Named, Options, in_words
from elmo.commands import base
from elmo.errors import ConfigError
from elmo.utils.files import write_text
from elmo.utils.terminal import markdown_table, say

DESCRIPTION = """\
Measures on one GPU, against the textbook of benchmarks/models.py on the same one:

  pretraining    tokens/s, share of the fastest large matrix product in that precision and process,
                 peak memory, by width and precision: fp32, tf32, and bf16 as trainer=gpu trains
  step           the share of cuDNN's LSTMs and of each other part in a step of training
  embedding      `elmo embed` before it writes, in batches of several sizes
  classifier     training and predicting, on a biLM with random weights
  runs           train_lm.py and train_cls.py with experiment=gpu on the toy corpus, end to end; the
                 first once more; and once more interrupted and resumed
  repeatability  two trainings with the same seed: equal or not, and what differs
  workspace      the same with CUBLAS_WORKSPACE_CONFIG=:16:8
  batch          the largest batch that fits, and the speed by the size of a batch

Each part has its own process. A part that fails is recorded with its error, and so is what the
budget of seconds leaves no time for. Beside the JSON file a Markdown file has the same tables."""

PARTS = {
    "card": "benchmarks.gpu_use:card",
    "pretraining": "benchmarks.gpu_training:pretraining",
    "step": "benchmarks.gpu_training:parts_of_a_step",
    "embedding": "benchmarks.gpu_use:embed",
    "classifier": "benchmarks.gpu_use:classify",
    "runs": "benchmarks.gpu_runs:command_line",
    "repeatability": "benchmarks.gpu_training:repeatability",
    "workspace": "benchmarks.gpu_training:repeatability_with_workspace",
    "batch": "benchmarks.gpu_training:largest_batch",
}
NO_TIME = "skipped: the budget was used up before"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Raises:
        ConfigError: there is no GPU, and no device is named.
    """
    args = _parser().parse_args(arguments)
    device = base.device(args)
    if args.device == "auto" and device.type == "cpu":
        raise ConfigError(
            "this machine has no GPU that PyTorch can use; run the benchmark on one that has, or "
            "try it out with --device cpu"
        )
    options = Options(
        str(device),
        tuple(args.widths),
        tuple(args.precisions),
        args.seconds,
        args.texts,
        args.largest,
    )
    end = time.monotonic() + args.budget
    tables: dict[str, list[harness.Row]] = {}
    outcomes: list[harness.Row] = []
    for name, part in PARTS.items():
        began = time.monotonic()
        if began >= end:
            outcomes.append({"part": name, "seconds": 0.0, "outcome": NO_TIME})
            continue
        say(f"{name}: {end - began:.0f} seconds are left")
        failed = 0
        try:
            for title, row in rows_of(part, options, end - began):
                tables.setdefault(title, []).append(row)
                failed += "failed" in row
            outcome = f"done, but {failed} of its rows failed" if failed else "done"
        except PartError as error:
            outcome = str(error)
        outcomes.append({"part": name, "seconds": time.monotonic() - began, "outcome": outcome})
    tables["parts"] = outcomes
    write_text(args.output.with_suffix(".md"), markdown(tables))
    harness.report("gpu", args.output, {"options": options._asdict()}, tables)


def _parser() -> argparse.ArgumentParser:
    parser = harness.arguments("gpu", DESCRIPTION)
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu; default: the GPU")
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512, 1024], metavar="H")
    precisions = ["fp32", "tf32", "bf16"]
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=precisions)
    for option, kind, default, meaning in (
        ("--seconds", float, 1.0, "seconds of each measurement"),
        ("--texts", int, 2048, "texts that are embedded and classified"),
        ("--largest", int, 2**22, "tokens of a batch, at most"),
        ("--budget", float, 500.0, "seconds of all parts together"),
    ):
        parser.add_argument(
            option, type=kind, default=default, metavar="N", help=f"{meaning} (default: {default})"
        )
    return parser


class PartError(Exception):
    """A part did not come to its end; the text says why."""


def rows_of(part: str, options: Options, seconds: float) -> Generator[Named, None, None]:
    """Run a part in its own process; yield its rows as they come.

    Args:
        part: module and name of a function that takes the options and yields rows.
        seconds: after which the process is ended, and those that it has started.

    Raises:
        PartError: the part failed, died, or took too long.
    """
    end = time.monotonic() + seconds
    context = harness.spawning()
    ours, theirs = context.Pipe(duplex=False)
    folder = tempfile.mkdtemp()
    process = context.Process(target=_work, args=(theirs, part, options, folder))
    process.start()
    assert process.pid is not None
    theirs.close()
    try:
        while True:
            if not ours.poll(max(0.0, end - time.monotonic())):
                raise PartError("stopped: the budget was used up")
            try:
                kind, content = ours.recv()
            except EOFError:
                process.join()
                raise PartError(f"failed: the process ended with {process.exitcode}") from None
            if kind == "row":
                yield content
            elif kind == "error":
                raise PartError(f"failed: {content}")
            else:
                return
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()  # it leads no group in its first moments
        process.join()
        shutil.rmtree(folder, ignore_errors=True)  # it had no time to do that itself


def _work(connection: Connection, part: str, options: Options, folder: str) -> None:
    """Send the rows of a part; what it prints goes to standard error, its files to `folder`."""
    os.setsid()  # so that it is ended with all processes that it starts
    tempfile.tempdir = folder
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module, _, name = part.partition(":")
    try:
        for row in getattr(importlib.import_module(module), name)(options):
            connection.send(("row", row))
    except Exception as error:
        connection.send(("error", in_words(error)))
    else:
        connection.send(("end", None))


def markdown(tables: Mapping[str, Sequence[harness.Row]]) -> str:
    """Return the tables as Markdown, each with its title."""
    parts: list[str] = []
    for title, rows in tables.items():
        header = list(dict.fromkeys(column for row in rows for column in row))
        cells = [[_cell(row.get(column)) for column in header] for row in rows]
        parts.append(f"## {title[:1].upper()}{title[1:]}\n\n{markdown_table(header, cells)}\n")
    return "\n".join(parts)


def _cell(value: Any) -> str:
    return "" if value is None else harness.shown(value)


if __name__ == "__main__":
    base.run(main)
