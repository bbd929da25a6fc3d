"""What a pretraining costs: a model of the step time, fitted to what `scaling` measured."""

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
Reads what `python -m benchmarks.scaling` wrote and predicts whole pretrainings from it. Trains
nothing.

  step     seconds = a x GFLOP of its matrix products + b x million weights + c, by least squares of
           the relative errors; each row is then predicted from all others
  hours    of 10 epochs on corpora of several sizes, on the cores of the benchmark, and on GPUs that
           sustain --gpu TFLOP/s each
  network  bytes that each process sends in a step of DDP, 2 (n - 1) / n of the gradients, and how
           many tokens a step needs for them to take a fifth of its time"""

CORPORA = (5e6, 100e6, 1e9)  # words
EPOCHS = 10
SHARE = 0.2  # of a step that may go to the network
# Peters et al. 2018 pretrained LSTMs of 4,096 cells projected to 512, two layers a direction, on
# 768,648,884 tokens for 10 epochs on three GTX 1080 in about two weeks; multiplications and
# additions of the LSTMs, forward and twice that backward.
PUBLISHED_FLOPS = 768_648_884 * 10 * 3 * 2 * (2 * 2 * (4 * 4096 * (512 + 512) + 4096 * 512))
PUBLISHED_SECONDS = 3 * 14 * 24 * 3600  # of one GPU
NETWORKS = {"1 Gbit/s": 0.125, "10 Gbit/s": 1.25, "PCIe 4": 20.0, "NVLink": 200.0}  # GB/s


def main(arguments: Sequence[str] | None = None) -> None:
    parser = harness.arguments("cost", DESCRIPTION)
    parser.add_argument(
        "--scaling", type=Path, metavar="FILE", default=Path("outputs/benchmarks/scaling.json")
    )
    published = PUBLISHED_FLOPS / PUBLISHED_SECONDS / 1e12
    parser.add_argument(
        "--gpu",
        type=float,
        metavar="TFLOP/s",
        default=published,
        help=f"sustained by one; default: the {published:.2f} of the GTX 1080 of the ELMo authors",
    )
    parser.add_argument("--gpus", type=int, default=8, metavar="N")
    args = parser.parse_args(arguments)
    rows = measured(args.scaling)
    coefficients = fit(rows)
    tables: dict[str, Sequence[harness.Row]] = {
        "step (ms), each row predicted from the others": check(rows),
        f"hours of {EPOCHS} epochs": [
            hours(row, words, coefficients, args) for words in CORPORA for row in rows
        ],
        "DDP": [network(row, args) for row in rows],
    }
    a, b, c = coefficients
    facts = {"GFLOP/s of the cores": 1 / a, "ms of a million weights": 1000 * b}
    facts |= {"ms of any step": 1000 * c}
    facts |= {"TFLOP/s of a GPU": args.gpu}
    harness.report("cost", args.output, facts, tables)


def measured(file: Path) -> list[dict[str, Any]]:
    """The rows of `scaling` in which V or the width grows, the adaptive softmax alone."""
    try:
        tables = json.loads(file.read_text())["tables"]
        found = [row for table in tables.values() for row in table]
        rows = [row for row in found if "GFLOP" in row and "length" not in row]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{file}: {error}; expected what `python -m benchmarks.scaling` writes"
        ) from error
    if len(rows) < 4:
        raise ArtifactError(f"{file}: {len(rows)} rows of the adaptive softmax; expected 4 or more")
    return rows


def fit(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Seconds of a GFLOP, of a million weights and of any step, by least squares of the errors."""
    seconds = np.array([row["step"] / 1000 for row in rows])
    parts = np.array([_parts(row) for row in rows])
    return np.linalg.lstsq(parts / seconds[:, None], np.ones(len(rows)), rcond=None)[0]


def predicted(row: dict[str, Any], coefficients: np.ndarray) -> float:
    """Seconds of a step."""
    return float(np.array(_parts(row)) @ coefficients)


def _parts(row: dict[str, Any]) -> list[float]:
    return [row["GFLOP"], row["M weights"], 1.0]


def name(row: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.scaling import WIDTH

    return {"width": row.get("width", WIDTH), "V": row.get("V", "of the corpus")}


def check(rows: Sequence[dict[str, Any]]) -> list[harness.Row]:
    found: list[harness.Row] = []
    for row in rows:
        others = [other for other in rows if other is not row]
        guess = 1000 * predicted(row, fit(others))
        error = f"{guess / row['step'] - 1:+.0%}"
        sizes = {key: row[key] for key in ("GFLOP", "M weights", "MiB")}
        tokens = {"tokens/s": row["tokens"] / row["step"] * 1000}
        found.append(
            name(row) | sizes | {"measured": row["step"], "predicted": guess, "error": error}
            | tokens
        )  # fmt: skip
    return found


def hours(
    row: dict[str, Any], words: float, coefficients: np.ndarray, args: argparse.Namespace
) -> harness.Row:
    steps = EPOCHS * words / row["tokens"]
    on_a_gpu = steps * row["GFLOP"] / (args.gpu * 1000) / 3600
    return {
        "words": int(words),
        **name(row),
        "MFLOP a token": row["GFLOP"] / row["tokens"] * 1000,
        "these cores": steps * predicted(row, coefficients) / 3600,
        "one GPU": on_a_gpu,
        f"{args.gpus} GPUs, network not counted": on_a_gpu / args.gpus,
    }


def network(row: dict[str, Any], args: argparse.Namespace) -> harness.Row:
    """Tokens of a step, of all processes together, for which sending takes `SHARE` of its time."""
    sent = 2 * (args.gpus - 1) / args.gpus * 4 * row["M weights"] / 1000  # GB of single precision
    seconds_a_token = row["GFLOP"] / row["tokens"] / (args.gpu * 1000) / args.gpus
    needed = {
        f"tokens, {link}": int(sent / rate * (1 - SHARE) / SHARE / seconds_a_token)
        for link, rate in NETWORKS.items()
    }
    return {**name(row), "MB sent a step": 1000 * sent, **needed}


if __name__ == "__main__":
    base.run(main)
