"""The predictions of `cost`, checked against two measurements of which it knows nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cost, harness, scaling
from elmo.commands import base

DESCRIPTION = """\
Predicts from the file of `scaling`, as `cost` does, and measures:

  width    a step of training at another width, as `scaling` does
  stream   train_lm.py on a stream of text with a vocabulary of another size, end to end: tokens
           per second, reading included"""

WORDS = 30  # of a document of the stream
EACH_STEP = (
    *("trainer.precision=32-true", "trainer.log_every_n_steps=1"),
    "trainer.enable_progress_bar=false",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Raises:
        ArtifactError: the file of `scaling` cannot be read.
    """
    parser = harness.arguments("cost_check", DESCRIPTION)
    cost.add_scaling(parser)
    parser.add_argument("--width", type=int, default=768, metavar="H")
    parser.add_argument("--vocabulary", type=int, default=800_000, metavar="V")
    parser.add_argument("--steps", type=int, default=30, metavar="N", help="of the stream")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="turns at the width")
    args = parser.parse_args(arguments)
    coefficients = cost.fit(cost.read_rows(args.scaling))
    rows = [
        against(measure_width(args.width, args.rounds), coefficients),
        against(measure_stream(args.vocabulary, args.steps), coefficients),
    ]
    facts = {"data": scaling.data_facts(), "rounds": args.rounds, "steps": args.steps}
    harness.report("cost_check", args.output, facts, {"predictions": rows})


def against(row: dict[str, Any], coefficients: np.ndarray) -> harness.Row:
    """Return a measurement with its prediction and the error of that."""
    guess = 1000 * cost.predicted(row, coefficients)
    return {**row, "predicted step": guess, "error": f"{guess / row['step'] - 1:+.0%}"}


def measure_width(width: int, rounds: int) -> dict[str, Any]:
    """Return the median step (ms) at a width, with the vocabulary of the corpus."""
    case = scaling.Case(width=width)
    (row,) = scaling.compare(("width",), [case], case, rounds)
    kept = ("step", "tokens", "GFLOP", "M weights")
    return {"point": f"width {width:,}", **{name: row[name] for name in kept}}


def measure_stream(vocabulary: int, steps: int) -> dict[str, Any]:
    """Return the step (ms) that the tokens per second of a stream make, width 256.

    The words of the stream follow the law of `benchmarks.steps.Zipf`; behind them each word of the
    vocabulary comes once, so that all are known.
    """
    import torch

    from benchmarks.models import model_flops
    from benchmarks.processes import speed
    from benchmarks.steps import Zipf
    from benchmarks.sweep import run
    from elmo.data.text import SPECIAL_TOKENS
    from elmo.models.language_model import load_language_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = 4 * steps * 2048 // WORDS  # more documents than are trained on
        documents = write_words(folder / "words.txt", vocabulary - len(SPECIAL_TOKENS), first)
        run_dir = folder / "run"
        run(
            "train_lm",
            *("data=text", f"data.files={folder}/words.txt", "data.streaming=true"),
            *(f"data.sample_documents={documents}", "data.min_count=1", "data.lowercase=false"),
            *(f"cache_dir={folder}/cache", f"output_dir={folder}", f"hydra.run.dir={run_dir}"),
            *(*EACH_STEP, f"datamodule.epoch_batches={steps}", "trainer.max_epochs=1"),
            *("trainer.limit_val_batches=1", "evaluate_test=false", "~callbacks.samples"),
            # Neither what is trained on nor what is evaluated is the words that come once.
            *("datamodule.buffer_documents=500", "datamodule.evaluation_rows=20"),
        )
        rate = speed(run_dir)
        model = load_language_model(run_dir)
        torch.manual_seed(0)
        length = WORDS + 2
        batches = list(islice(Zipf(vocabulary, 0).documents(length, 2048), 4))
        tokens = float(np.mean([int(batch.lengths.sum()) for batch in batches]))
        weights = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        flops = float(np.mean([model_flops(model, batch) for batch in batches]))
        return {
            "point": f"stream, V = {len(model.tokenizer):,}",
            "step": 1000 * tokens / rate,
            "tokens": tokens,
            "GFLOP": flops / 1e9,
            "M weights": weights,
        }


def write_words(file: Path, words: int, documents: int) -> int:
    """Write documents of random words by Zipf's law, then each word once; return their number."""
    from benchmarks.steps import Zipf
    from elmo.data.text import SPECIAL_TOKENS

    special = len(SPECIAL_TOKENS)
    ranks = Zipf(words + special, 1).words(documents * WORDS).numpy() - special
    every = np.concatenate([ranks, np.arange(words)])
    lines = [every[start : start + WORDS] for start in range(0, len(every), WORDS)]
    with file.open("w") as handle:
        handle.writelines(" ".join(f"w{rank}" for rank in line) + "\n" for line in lines)
    return len(lines)


if __name__ == "__main__":
    base.run(main)
