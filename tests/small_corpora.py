"""Small corpora in the formats that the project reads."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from elmo.data.corpora.ag_news import AgNews
from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import Corpus

Row = tuple[str, int]  # text, class from 0


def news(count: int, prefix: str = "train") -> list[Row]:
    """Return stories of four classes in turn."""
    return [(f"{prefix} story {number}", number % 4) for number in range(count)]


def texts(corpus: Corpus, split: str) -> list[str]:
    """Return the texts of a split."""
    return list(corpus.splits[split]["text"])


def csv_of(rows: list[Row]) -> bytes:
    """Return rows in the format of AG News."""
    lines = io.StringIO()
    writer = csv.writer(lines, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(
        (label + 1, f"title {number}", text) for number, (text, label) in enumerate(rows)
    )
    return lines.getvalue().encode()


def content(corpus: Corpus) -> dict[str, list]:
    """Return all rows of all splits."""
    return {split: rows.to_list() for split, rows in corpus.splits.items()}


TEST_CSV = csv_of(news(7600, "test"))


def ag_news(source: Path | None, cache_dir: Path, **changes: Any) -> AgNews:
    """Return the corpus in a folder in the format of AG News."""
    defaults = {
        "split_seed": 0,
        "validation_size": 10,
        "min_count": 1,
        "max_vocabulary": None,
        "cache_dir": str(cache_dir),
    }
    return AgNews(dir=str(source) if source else None, **{**defaults, **changes})


def toy_news(cache_dir: Path, **changes: Any) -> ToyNews:
    """Return a small toy corpus."""
    defaults = {
        "rows": 1200,
        "test_rows": 200,
        "seed": 0,
        "split_seed": 0,
        "validation_size": 200,
        "min_count": 2,
        "max_vocabulary": None,
    }
    return ToyNews(cache_dir=str(cache_dir), **{**defaults, **changes})
