"""The preparation of a corpus: seconds and peak memory, from an empty and from a full cache."""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from benchmarks import harness
from elmo.commands import base

DESCRIPTION = """\
Prepares corpora of several sizes as train_lm.py does: cleans the CSV files, drops rows that are in
the test split, draws the validation rows, builds the vocabulary, tokenises, makes the first batch.

  cold    from an empty cache
  warm    the same again, with everything in the cache

Each runs in its own process; its start and imports count in `process`, not in `data work`. The
documents are those of AG News if AG_NEWS_DIR is set, and once these are used up, new ones joined
from the halves of two. Otherwise they come from the grammar of toy news."""

MEBIBYTE = 2**20 if sys.platform == "darwin" else 2**10  # in the unit of ru_maxrss
STARTS = ("cold", "warm")
PARTS = ("rows", "tokenizer", "tokens", "batch")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("data", DESCRIPTION)
    parser.add_argument(
        "--documents", type=int, nargs="+", default=[10_000, 100_000, 300_000], metavar="N"
    )
    args = parser.parse_args(arguments)
    if min(args.documents) < 100:
        parser.error(f"--documents {min(args.documents)}: expected 100 or more")
    costs: dict[tuple[int, str], dict[str, float]] = {}
    parts: list[harness.Row] = []
    for count in args.documents:
        with tempfile.TemporaryDirectory() as folder:
            in_new_process(write_source, folder, count)
            for start in STARTS:
                start_time = time.perf_counter()
                cost, part = in_new_process(prepare, folder, count)
                costs[count, start] = {**cost, "process (s)": time.perf_counter() - start_time}
                parts.append({"documents": count, "start": start, **part})
    tables: dict[str, list[harness.Row]] = {
        "preparing a corpus": [
            {"documents": count, "start": start, **cost} for (count, start), cost in costs.items()
        ],
        "ratios": [
            {"documents": f"{large:,} / {small:,}", "start": start}
            | {name: cost / costs[small, start][name] for name, cost in costs[large, start].items()}
            for small, large in pairwise(args.documents)
            for start in STARTS
        ],
        "seconds of data work, by part": parts,
    }
    source = {"data": "ag_news" if os.environ.get("AG_NEWS_DIR") else "toy"}
    harness.report("data", args.output, source, tables)


def in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a new process, so that its peak memory is that of this call alone.

    On Linux, a child inherits the peak of its parent, so this process imports nothing large.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def write_source(folder: str, count: int) -> None:
    """Write `train.csv` of `count` documents and `test.csv` of 7,600, in the format of AG News."""
    from elmo.data.corpora import toy_grammar as toy_news
    from elmo.data.corpora.ag_news import AgNews

    documents: Iterator[tuple[int, str]]
    if real := os.environ.get("AG_NEWS_DIR"):
        documents = ag_news_and_more(Path(real).expanduser() / "train.csv")
        shutil.copy(Path(real).expanduser() / "test.csv", folder)
    else:
        texts, labels = toy_news.generate(count + AgNews.ROWS["test"], seed=0)
        documents = iter(list(zip(labels, texts, strict=True)))
        _write_csv(Path(folder) / "test.csv", islice(documents, AgNews.ROWS["test"]))
    _write_csv(Path(folder) / "train.csv", islice(documents, count))


def ag_news_and_more(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the rows of `file`, then without end rows joined from the halves of two."""
    from elmo.data.corpora.ag_news import read_ag_news_csv

    rows = [(row.label, row.text) for row in read_ag_news_csv(file)]
    yield from rows
    rng = random.Random(0)
    while True:
        (label, left), (_, right) = rng.choice(rows), rng.choice(rows)
        first, second = left.split(" "), right.split(" ")
        yield label, " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])


def _write_csv(file: Path, documents: Iterator[tuple[int, str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows((label + 1, text[:40], text) for label, text in documents)


def prepare(folder: str, count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Do what `train_lm.py` does before its first step, with source and cache in `folder`.

    Returns:
        The cost: seconds, processor time of all threads, and peak memory of the whole process; then
        the number of train rows, V and the seconds of each part.
    """
    import logging

    from elmo.data.corpora.ag_news import AgNews
    from elmo.data.language_model_data import LanguageModelData

    logging.disable()
    times = [time.perf_counter()]
    processor = time.process_time()
    corpus = AgNews(
        dir=folder,
        split_seed=0,
        validation_size=min(5000, count // 10),
        min_count=3,
        max_vocabulary=None,
        cache_dir=f"{folder}/cache",
    )
    facts = corpus.facts
    times.append(time.perf_counter())
    tokenizer = corpus.tokenizer
    times.append(time.perf_counter())
    data = LanguageModelData(
        evaluation_rows=5000,
        corpus=corpus,
        tokenizer=tokenizer,
        token_budget=2048,
        num_workers=0,
        seed=0,
    )
    data.prepare_data()
    times.append(time.perf_counter())
    next(iter(data.train_dataloader()))
    times.append(time.perf_counter())
    cost = {
        "data work (s)": times[-1] - times[0],
        "CPU (s)": time.process_time() - processor,
        "peak (MiB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE,
    }
    seconds = {name: end - begin for name, (begin, end) in zip(PARTS, pairwise(times), strict=True)}
    return cost, {"train": facts["train_rows"], "V": len(tokenizer), **seconds}


if __name__ == "__main__":
    base.run(main)
