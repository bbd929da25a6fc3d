from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elmo.data.corpora.ag_news import read_ag_news_csv
from elmo.data.corpora.ag_news_57k import ReleasedAgNews, row_hashes
from elmo.data.corpus import RawRow
from elmo.errors import ConfigError, DataError
from elmo.utils.shipped import SHIPPED
from small_corpora import TEST_CSV, ag_news, csv_of, news

ROWS = "outputs/reference/rows.bin"


def test_hashes_depend_on_letters_digits_and_class_only() -> None:
    one, copy, other, elsewhere = row_hashes(
        [
            RawRow(0, "Shares fell 3.5%, the bank said.", 2),
            RawRow(7, " shares  fell 35 -- the BANK said", 2),
            RawRow(0, "Shares fell 3.6%, the bank said.", 2),
            RawRow(0, "Shares fell 3.5%, the bank said.", 3),
        ]
    )
    assert one == copy
    assert len({one, other, elsewhere}) == 3


def released(source: Path, rows: Path, cache_dir: Path, **changes: Any) -> ReleasedAgNews:
    """Return the corpus of the rows that a file lists."""
    return ReleasedAgNews(
        rows=str(rows),
        dir=str(source),
        split_seed=0,
        validation_size=10,
        min_count=1,
        max_vocabulary=None,
        cache_dir=str(cache_dir),
        **changes,
    )


def test_titles_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"use data=ag_news_titles"):
        released(source, tmp_path / "rows.bin", tmp_path, title=True)


def test_the_rows_of_a_larger_file_come_in_their_own_order(source: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.bin"
    written = list(read_ag_news_csv(source / "train.csv"))
    chosen = [*written[40:60:2], *written[10:20], written[3], *written[20:30]]
    row_hashes(chosen).tofile(rows)
    corpus = released(source, rows, tmp_path)
    read = list(corpus.read("train"))
    assert [(row.text, row.label) for row in read] == [(row.text, row.label) for row in chosen]
    assert [row.row for row in read] == list(range(31))
    assert len(list(corpus.read("test"))) == 7600
    # A file with only these rows, in another order, is the same corpus.
    part = tmp_path / "part"
    part.mkdir()
    (part / "test.csv").write_bytes((source / "test.csv").read_bytes())
    some = [row for number, row in enumerate(news(60)) if written[number] in chosen]
    (part / "train.csv").write_bytes(csv_of(some[::-1]))
    again = released(part, rows, tmp_path / "again")
    assert again.fingerprint == corpus.fingerprint
    for split, rows_of_split in corpus.splits.items():
        assert rows_of_split["text"] == again.splits[split]["text"]


def test_rows_of_one_hash_keep_their_order(tmp_path: Path) -> None:
    rows, folder = tmp_path / "rows.bin", tmp_path / "source"
    folder.mkdir()
    written = [("The bank fell.", 2), ("the bank fell!", 2), ("Another.", 1), ("THE BANK FELL", 2)]
    (folder / "train.csv").write_bytes(csv_of(written))
    (folder / "test.csv").write_bytes(TEST_CSV)
    row_hashes(RawRow(0, text, label) for text, label in written[:3]).tofile(rows)
    read = [row.text for row in released(folder, rows, tmp_path).read("train")]
    assert read == [text for text, _ in written[:3]]


def test_missing_rows_are_counted(source: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.bin"
    there = row_hashes(read_ag_news_csv(source / "train.csv"))
    np.append(there, [np.uint64(1), np.uint64(2)]).astype("<u8").tofile(rows)
    with pytest.raises(DataError, match=r"train.csv: 2 of the 62 rows .* data=ag_news"):
        list(released(source, rows, tmp_path).read("train"))
    rows.unlink()
    with pytest.raises(DataError, match=r"rows.bin: no such file"):
        _ = released(source, rows, tmp_path).fingerprint


def test_the_released_rows() -> None:
    hashes = np.fromfile(SHIPPED / ROWS, "<u8")
    assert hashes.shape == (56_983,)


@pytest.mark.skipif(not os.environ.get("AG_NEWS_DIR"), reason="AG_NEWS_DIR not set")
def test_the_released_rows_are_in_the_real_file(cache_dir: Path) -> None:
    folder = Path(os.environ["AG_NEWS_DIR"])
    corpus = released(folder, SHIPPED / ROWS, cache_dir)
    assert len(list(corpus.read("train"))) == 56_983
    assert corpus.fingerprint != ag_news(folder, cache_dir).fingerprint
