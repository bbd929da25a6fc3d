"""What `trainer.precision=auto` does to perplexity and accuracy, against the noise of seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks import harness
from benchmarks.corpus import small_jobs
from benchmarks.sweep import record, run

DESCRIPTION = """\
Trains a biLM and a classifier on it with each seed, in single precision and with
`trainer.precision=auto`, on one thread, and compares their validation figures:

  difference  mean over seeds of `auto` minus single precision with the same seed, and its
              interval of 95 % by Student's t
  deviation   sample standard deviation over the seeds in single precision: the noise of seeds

The test split is not read. The settings are the defaults, and the classifier's mixer is `learned`
with matrices."""

PRECISIONS = ("32-true", "auto")
FIGURES = ("val perplexity", "val accuracy")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("precision", DESCRIPTION)
    parser.add_argument("--rows", type=int, default=10_000, metavar="N", help="first train rows")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds, 2 or more")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="of both trainings")
    args = parser.parse_args(arguments)
    rows: list[harness.Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = (
            *small_jobs(args.rows, folder),
            *(f"trainer.max_epochs={args.epochs}", "threads=1", "evaluate_test=false"),
        )
        for seed in range(args.seeds):
            for precision in PRECISIONS:
                chosen = (*common, f"seed={seed}", f"trainer.precision={precision}")
                rows.append({"seed": seed, "asked": precision, **figures(folder, chosen)})
                print(rows[-1], flush=True)
    facts = {"rows": args.rows, "epochs": args.epochs}
    differences = [compare(rows, figure) for figure in FIGURES]
    harness.report("precision", args.output, facts, {"runs": rows, "differences": differences})


def figures(folder: Path, settings: tuple[str, ...]) -> harness.Row:
    """Train a biLM and a classifier on it; return what they reached, and the seconds they took."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        bilm, classifier = Path(name) / "bilm", Path(name) / "classifier"
        seconds = run("train_lm", *settings, "~callbacks.samples", f"hydra.run.dir={bilm}")
        run(
            *("train_cls", *settings, "store=off", "mixer=learned", "mixer.projection_dim=256"),
            *(f"bilm_path={bilm}", f"hydra.run.dir={classifier}"),
        )
        pretrained = record(bilm)
        return {
            "used": pretrained["precision"]["used"],
            "val perplexity": pretrained["metrics"]["val/perplexity"],
            "val accuracy": record(classifier)["metrics"]["val/accuracy"],
            "biLM (s)": seconds,
        }


def compare(rows: Sequence[harness.Row], figure: str) -> harness.Row:
    """Return how far `auto` is from single precision in a figure, and how far seeds lie apart."""
    single, auto = (
        np.array([row[figure] for row in rows if row["asked"] == precision])
        for precision in PRECISIONS
    )
    difference = auto - single
    margin = stats.t.ppf(0.975, len(single) - 1) * stats.sem(difference)
    return {
        "figure": figure,
        "32-true": float(single.mean()),
        "auto": float(auto.mean()),
        "difference": float(difference.mean()),
        "from": float(difference.mean() - margin),
        "to": float(difference.mean() + margin),
        "deviation": float(single.std(ddof=1)),
    }


if __name__ == "__main__":
    main()
