"""The cost of a pretraining: a model of the step time, fitted to the measurements of `scaling`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from elmo.commands import base
from elmo.errors import ArtifactError

DESCRIPTION = """\
Reads the file that `python -m benchmarks.scaling` wrote and predicts whole pretrainings from it.
Trains nothing.

  step     seconds = a x GFLOP of its matrix products + b x million weights + c, by least squares of
           the relative errors; each row is then predicted from all others
  hours    hours of 10 epochs on corpora of several sizes, on the cores of the benchmark and on GPUs
           that sustain --gpu TFLOP/s each
  network  bytes that each process sends in a step of DDP, 2 (n - 1) / n of the gradients, and the
           number of tokens per step with which sending takes a fifth of the time"""

CORPORA = (5e6, 100e6, 1e9)  # words
EPOCHS = 10
SHARE = 0.2  # of the time of a step, for the network
# Peters et al. 2018 pretrained LSTMs of 4,096 cells projected to 512, two layers per direction, on
# 768,648,884 tokens for 10 epochs on three GTX 1080 in about two weeks; multiplications and
# additions of the LSTMs, forward and twice that backward.
PUBLISHED_FLOPS = 768_648_884 * 10 * 3 * 2 * (2 * 2 * (4 * 4096 * (512 + 512) + 4096 * 512))
PUBLISHED_SECONDS = 3 * 14 * 24 * 3600  # of one GPU
NETWORKS = {"1 Gbit/s": 0.125, "10 Gbit/s": 1.25, "PCIe 4": 20.0, "NVLink": 200.0}  # GB/s


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("cost", DESCRIPTION)
    add_scaling(parser)
    published = PUBLISHED_FLOPS / PUBLISHED_SECONDS / 1e12
    parser.add_argument(
        "--gpu",
        type=float,
        metavar="TFLOP/s",
        default=published,
        help=f"sustained by one GPU (default: {published:.2f}, as the ELMo authors on a GTX 1080)",
    )
    parser.add_argument("--gpus", type=int, default=8, metavar="N", help="default: %(default)s")
    args = parser.parse_args(arguments)
    rows = read_rows(args.scaling)
    coefficients = fit(rows)
    tables: dict[str, Sequence[harness.Row]] = {
        "step (ms), each row predicted from the others": leave_one_out(rows),
        f"hours of {EPOCHS} epochs": [
            hours(row, words, coefficients, args) for words in CORPORA for row in rows
        ],
        "DDP": [network(row, args) for row in rows],
    }
    a, b, c = coefficients
    facts = {
        "GFLOP/s of the cores": 1 / a,
        "ms per million weights": 1000 * b,
        "ms of any step": 1000 * c,
        "TFLOP/s of a GPU": args.gpu,
    }
    harness.report("cost", args.output, facts, tables)


def add_scaling(parser: argparse.ArgumentParser) -> None:
    """Add `--scaling`, the file that `read_rows` reads."""
    parser.add_argument(
        "--scaling",
        type=Path,
        metavar="FILE",
        default=Path("outputs/benchmarks/scaling.json"),
        help="the file that `scaling` wrote (default: %(default)s)",
    )


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Read the rows of `scaling` in which V or the width grows, with the adaptive softmax.

    Raises:
        ArtifactError: the file cannot be read, or has too few of these rows.
    """
    try:
        tables = json.loads(file.read_text())["tables"]
        every = [row for table in tables.values() for row in table]
        rows = [row for row in every if "GFLOP" in row and "length" not in row]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{file}: {error}; expected the file that `python -m benchmarks.scaling` writes"
        ) from error
    if len(rows) < 4:
        raise ArtifactError(f"{file}: {len(rows)} rows of the adaptive softmax; expected 4 or more")
    return rows


def fit(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return seconds per GFLOP, per million weights and of any step, by least squares."""
    seconds = np.array([row["step"] / 1000 for row in rows])
    parts = np.array([_parts(row) for row in rows])
    return np.linalg.lstsq(parts / seconds[:, None], np.ones(len(rows)), rcond=None)[0]


def predicted(row: dict[str, Any], coefficients: np.ndarray) -> float:
    """Return the seconds of a step."""
    return float(np.array(_parts(row)) @ coefficients)


def _parts(row: dict[str, Any]) -> list[float]:
    return [row["GFLOP"], row["M weights"], 1.0]


def case_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return width and V of a row."""
    from benchmarks.scaling import WIDTH

    return {"width": row.get("width", WIDTH), "V": row.get("V", "of the corpus")}


def leave_one_out(rows: Sequence[dict[str, Any]]) -> list[harness.Row]:
    """Predict each row by a fit to all others."""
    table: list[harness.Row] = []
    for row in rows:
        others = [other for other in rows if other is not row]
        guess = 1000 * predicted(row, fit(others))
        error = f"{guess / row['step'] - 1:+.0%}"
        sizes = {key: row[key] for key in ("GFLOP", "M weights", "MiB")}
        tokens = {"tokens/s": row["tokens"] / row["step"] * 1000}
        times = {"measured": row["step"], "predicted": guess, "error": error}
        table.append(case_of(row) | sizes | times | tokens)
    return table


def hours(
    row: dict[str, Any], words: float, coefficients: np.ndarray, args: argparse.Namespace
) -> harness.Row:
    """Return the hours of a pretraining on a number of words, with the model of a row."""
    steps = EPOCHS * words / row["tokens"]
    on_a_gpu = steps * row["GFLOP"] / (args.gpu * 1000) / 3600
    return {
        "words": int(words),
        **case_of(row),
        "MFLOP per token": row["GFLOP"] / row["tokens"] * 1000,
        "these cores": steps * predicted(row, coefficients) / 3600,
        "one GPU": on_a_gpu,
        f"{args.gpus} GPUs, network not counted": on_a_gpu / args.gpus,
    }


def network(row: dict[str, Any], args: argparse.Namespace) -> harness.Row:
    """Return the tokens per step of all processes with which sending takes `SHARE` of it."""
    sent = 2 * (args.gpus - 1) / args.gpus * 4 * row["M weights"] / 1000  # GB of single precision
    seconds_per_token = row["GFLOP"] / row["tokens"] / (args.gpu * 1000) / args.gpus
    needed = {
        f"tokens, {link}": int(sent / rate * (1 - SHARE) / SHARE / seconds_per_token)
        for link, rate in NETWORKS.items()
    }
    return {**case_of(row), "MB sent per step": 1000 * sent, **needed}


if __name__ == "__main__":
    base.run(main)
