"""The first train rows as a corpus, so that a benchmark ends in time."""

from __future__ import annotations

import csv
import os
import shutil
from itertools import islice
from pathlib import Path


def first_rows(rows: int, folder: Path) -> tuple[str, ...]:
    """Return the overrides for a corpus of the first train rows.

    If `AG_NEWS_DIR` is set, these are rows of AG News, copied to `folder`; otherwise, of toy news.
    """
    source = os.environ.get("AG_NEWS_DIR")
    if not source:
        return ("data=toy", f"data.rows={rows}")
    shutil.copy(Path(source) / "test.csv", folder)
    with (
        (Path(source) / "train.csv").open(newline="", encoding="utf-8") as whole,
        (folder / "train.csv").open("w", newline="", encoding="utf-8") as part,
    ):
        csv.writer(part, quoting=csv.QUOTE_ALL).writerows(islice(csv.reader(whole), rows))
    return ("data=ag_news", f"data.dir={folder}")


def small_jobs(rows: int, folder: Path) -> tuple[str, ...]:
    """Return the overrides for jobs on these rows that write only to `folder`, without progress.

    They compute in single precision, so that their figures are of the same work on all processors.
    """
    return (
        *first_rows(rows, folder),
        f"data.validation_size={rows // 10}",
        f"output_dir={folder}/outputs",
        f"cache_dir={folder}/cache",
        "trainer.precision=32-true",
        "trainer.enable_progress_bar=false",
    )
