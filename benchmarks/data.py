"""Preparing a corpus: seconds and peak memory, from an empty cache and from a full one."""

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
Prepares corpora of several sizes as train_lm.py does: cleans the CSV files, drops what stands in
the test split, draws the validation rows, trains the tokenizer, tokenises, makes the first batch.

  cold    from an empty cache
  warm    the same once more, with everything in the cache

Each in a process of its own, whose start and imports count in `process`, not in `data work`.
Documents are those of AG News where AG_NEWS_DIR is set, beyond them halves of two joined to a new
one; else those of the grammar of toy news."""

MEBIBYTE = 2**20 if sys.platform == "darwin" else 2**10  # in the unit of ru_maxrss
STARTS = ("cold", "warm")
PARTS = ("rows", "tokenizer", "tokens", "batch")


def main(arguments: Sequence[str] | None = None) -> None:
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
            apart(write_source, folder, count)
            for start in STARTS:
                began = time.perf_counter()
                cost, part = apart(prepare, folder, count)
                costs[count, start] = {**cost, "process (s)": time.perf_counter() - began}
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


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """Call `function` in a new process, which counts no memory but its own.

    Linux hands the peak of a parent on to its children, so this process imports nothing large.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def write_source(folder: str, count: int) -> None:
    """`train.csv` of `count` documents and a `test.csv` of 7,600 in the format of AG News."""
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
    """The rows of `file`, then endlessly the first half of one joined to the second of another."""
    from elmo.data.corpora.ag_news import read_ag_news_csv

    rows = [(row.label, row.text) for row in read_ag_news_csv(file)]
    yield from rows
    rng = random.Random(0)
    while True:
        (label, one), (_, other) = rng.choice(rows), rng.choice(rows)
        first, second = one.split(" "), other.split(" ")
        yield label, " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])


def _write_csv(file: Path, documents: Iterator[tuple[int, str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows((label + 1, text[:40], text) for label, text in documents)


def prepare(folder: str, count: int) -> tuple[dict[str, float], dict[str, float]]:
    """What `train_lm.py` does before its first step, with the source and the cache in `folder`.

    Returns:
        What it cost, with processor time of all threads and the memory of the whole process; what
        came out of it, with seconds by part.
    """
    import logging

    from elmo.data.corpora.ag_news import AgNews
    from elmo.data.datamodule import LanguageModelData

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
