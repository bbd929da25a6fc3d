"""The growth of a training step with the vocabulary, the width and the length of documents."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import harness

if TYPE_CHECKING:
    from elmo.data.batches import Batch
    from elmo.models.language_model import LanguageModel

DESCRIPTION = """\
Times training steps of language models in turn, each in its own process: forward, backward,
clipping and optimizer as in train_lm.py, without Lightning, metrics and loading.

  vocabulary  V grows; ids are drawn by Zipf's law, 1/k up to rank 5,000 and 1/k^1.7 beyond, as in
              AG News; lengths are those of real documents
  width       H = E grows; real documents and their vocabulary
  length      documents grow at the same token budget; all have the same length, ids are drawn as
              above, V is the real one

Memory is the peak of the process minus its peak after the imports. Ratios are relative to 30,000
words for V, to 256 for the width, and to the first row for the length."""

WIDTH = 256  # if only the vocabulary or the length grows
LARGEST_FULL = 30_000  # words of a full softmax
STEPS = 3  # per turn
MEBIBYTE = 2**20 if sys.platform == "darwin" else 2**10  # in the unit of ru_maxrss


class Case(NamedTuple):
    """A case to measure: None stands for `WIDTH`, for the real V and for real documents."""

    softmax: str = "adaptive"
    V: int | None = None
    width: int | None = None
    length: int | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("scaling", DESCRIPTION)
    for option, sizes in (
        ("--vocabularies", [10_000, 30_000, 100_000, 300_000]),
        ("--widths", [128, 256, 512, 1024]),
        ("--lengths", [32, 64, 128, 256, 512]),
    ):
        parser.add_argument(option, type=int, nargs="+", default=sizes, metavar="N")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="turns per case")
    args = parser.parse_args(arguments)
    data = data_facts()  # also fills the cache, which would cost the cases memory
    adaptive = [Case(V=size) for size in args.vocabularies]
    full = [Case("full", size) for size in args.vocabularies if size <= LARGEST_FULL]
    tables = {
        "vocabulary (times in ms)": compare(
            ("softmax", "V"), adaptive + full, Case(V=30_000), args.rounds
        ),
        "width (times in ms)": compare(
            ("width",), [Case(width=size) for size in args.widths], Case(width=WIDTH), args.rounds
        ),
        "length (times in ms)": compare(
            ("length",), [Case(length=size) for size in args.lengths], Case(), args.rounds
        ),
    }
    harness.report("scaling", args.output, {"data": data, "rounds": args.rounds}, tables)


def data_facts() -> dict[str, Any]:
    """Prepare the corpus and return its facts."""
    from benchmarks.models import corpus_facts, language_model

    return corpus_facts(language_model(harness.settings("train_lm"))[1])


def compare(names: Sequence[str], cases: list[Case], base: Case, rounds: int) -> list[harness.Row]:
    """Measure the cases; return a row for each.

    Args:
        names: the fields in which the cases differ.
        base: the case to which the ratio of step times refers (the median over the rounds); if it
            is not among the cases, the first one is taken.
    """
    results = harness.in_turn({str(case): (train, (case,)) for case in cases}, rounds)
    reference = results[str(base if base in cases else cases[0])]
    rows: list[harness.Row] = []
    for case in cases:
        turns = results[str(case)]
        ratios = [a["step"] / b["step"] for a, b in zip(turns, reference, strict=True)]
        row: dict[str, Any] = {name: getattr(case, name) for name in names}
        for name in turns[0]:
            row[name] = median(turn[name] for turn in turns)
            if name == "step":
                row["ratio"] = median(ratios)
        rows.append(row)
    return rows


def train(turn: harness.Turn, case: Case) -> None:
    """Train a language model; the result of a turn is the medians of its steps."""
    import torch

    from benchmarks.lm_training import endless
    from benchmarks.models import make
    from benchmarks.steps import PARTS, Zipf, step
    from elmo.models.language_model import LanguageModel
    from elmo.utils.memory import keep_freed_memory

    imported = peak_memory()
    keep_freed_memory()
    width = case.width or WIDTH
    widths = (f"bilm.hidden_dim={width}", f"embedding.dim={width}")
    cfg = harness.settings("train_lm", f"softmax={case.softmax}", *widths)
    corpus = make(cfg.data)
    data = make(cfg.datamodule)(corpus=corpus, tokenizer=corpus.tokenizer)
    vocabulary = case.V or len(corpus.tokenizer)
    batches = endless(data.train_dataloader())
    words = Zipf(vocabulary, cfg.seed)
    if case.length:
        batches = words.documents(case.length, data.token_budget)
    elif case.V:
        batches = words.replace_words(batches)
    torch.manual_seed(cfg.seed)
    bilm = make(cfg.bilm)(vocab_size=vocabulary, embedding_dim=width)
    model = LanguageModel(bilm, make(cfg.softmax)(dim=width, vocab_size=vocabulary))
    optimizer = make(cfg.optimizer)(list(model.parameters()))
    result = None
    while True:
        turn(result)
        chosen = [next(batches) for _ in range(STEPS)]
        steps = [step(model, optimizer, batch, cfg.trainer.gradient_clip_val) for batch in chosen]
        products = matrix_products(model, chosen)
        milliseconds = median(1000 * sum(times.values()) for times in steps)
        if products:
            rate = 1e12 * products["GFLOP"] / milliseconds
            products["share of the limit"] = rate / harness.limit()
        result = {
            "step": milliseconds,
            **{name: median(1000 * times[name] for times in steps) for name in PARTS},
            "tokens": median(int(batch.lengths.sum()) for batch in chosen),
            **products,
            "M weights": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
            "MiB": (peak_memory() - imported) / MEBIBYTE,
        }


def matrix_products(model: LanguageModel, batches: list[Batch]) -> dict[str, float]:
    """Return the GFLOP of a step's matrix products; they are not counted for a full softmax."""
    from benchmarks.models import model_flops
    from elmo.modules.softmax import AdaptiveSoftmax

    if not isinstance(model.softmax, AdaptiveSoftmax):
        return {}
    return {"GFLOP": median(model_flops(model, batch) for batch in batches) / 1e9}


def peak_memory() -> int:
    """Return the peak memory of this process, in the unit of ru_maxrss."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
