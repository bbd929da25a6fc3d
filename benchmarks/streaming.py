"""Reading a corpus as a stream: documents per second and peak memory for several sizes."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

from benchmarks import harness
from benchmarks.data import MEBIBYTE, ag_news_and_more, in_new_process
from elmo.commands import base

DESCRIPTION = """\
Reads text files of several sizes once from beginning to end, as train_lm.py data=text
data.streaming=true does, without training: takes vocabulary, validation and test from the first
documents, then cleans, tokenises, shuffles and batches all others.

Each size runs in its own process; the peak includes its imports. The documents are those of AG News
if AG_NEWS_DIR is set, and once these are used up, new ones joined from the halves of two. Otherwise
they come from the grammar of toy news."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("streaming", DESCRIPTION)
    parser.add_argument(
        "--documents", type=int, nargs="+", default=[10_000, 100_000, 3_000_000], metavar="N"
    )
    parser.add_argument(
        "--sample", type=int, default=10_000, metavar="N", help="data.sample_documents"
    )
    args = parser.parse_args(arguments)
    if min(*args.documents, args.sample) < 100:
        parser.error("--documents and --sample: expected 100 or more")
    rows: list[harness.Row] = []
    for number in args.documents:
        with tempfile.TemporaryDirectory() as folder:
            in_new_process(write_text, folder, number)
            rows.append({"documents": number, **in_new_process(read, folder, number, args.sample)})
    first = rows[0]
    ratios: list[harness.Row] = [
        {
            "documents": f"{row['documents']:,} / {first['documents']:,}",
            "peak": row["peak (MiB)"] / first["peak (MiB)"],
        }
        for row in rows[1:]
    ]
    source = {"data": "ag_news" if os.environ.get("AG_NEWS_DIR") else "toy"}
    tables: dict[str, list[harness.Row]] = {"reading a stream": rows, "ratios": ratios}
    harness.report("streaming", args.output, source, tables)


def write_text(folder: str, number: int) -> None:
    """Write `text.txt`, with `number` documents, one per line."""
    with (Path(folder) / "text.txt").open("w", encoding="utf-8") as handle:
        for text in islice(_texts(), number):
            handle.write(" ".join(text.split()) + "\n")


def _texts() -> Iterator[str]:
    from elmo.data.corpora import toy_grammar as toy_news

    if real := os.environ.get("AG_NEWS_DIR"):
        for _, text in ag_news_and_more(Path(real).expanduser() / "train.csv"):
            yield text
    for seed in count():
        yield from toy_news.generate(1000, seed)[0]


def read(folder: str, number: int, sample: int) -> dict[str, float]:
    """Read `number` documents of the stream; return times, speeds, V and peak memory."""
    import logging

    from elmo.data.corpora.files import TextFiles
    from elmo.data.language_model_data import LanguageModelData
    from elmo.data.streaming import StreamLoader
    from elmo.utils.memory import keep_freed_memory

    logging.disable()
    keep_freed_memory()
    start = time.perf_counter()
    corpus = TextFiles(
        name="text",
        files=f"{folder}/text.txt",
        text_column=None,
        test_files=None,
        test_share=0.05,
        streaming=True,
        sample_documents=sample,
        split_seed=0,
        validation_size=0.05,
        min_count=3,
        max_vocabulary=None,
        cache_dir=f"{folder}/cache",
    )
    data = LanguageModelData(
        evaluation_rows=5000,
        corpus=corpus,
        token_budget=2048,
        num_workers=0,
        seed=0,
        epoch_batches=2**62,
    )
    data.prepare_data()
    prepared = time.perf_counter()
    loader = data.train_dataloader()
    assert isinstance(loader, StreamLoader)
    documents = tokens = 0
    for batch in loader:
        documents += len(batch.lengths)
        tokens += int(batch.lengths.sum())
        if documents >= number:
            break
    seconds = time.perf_counter() - prepared
    return {
        "V": len(data.tokenizer),
        "prepare (s)": prepared - start,
        "read": documents,
        "documents/s": documents / seconds,
        "tokens/s": tokens / seconds,
        "peak (MiB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE,
    }


if __name__ == "__main__":
    base.run(main)
