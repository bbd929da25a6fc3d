"""AG News: the original CSV files, read from a folder or downloaded once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from datasets import DownloadConfig, DownloadManager

from elmo.data.corpus import Corpus, RawRow
from elmo.data.readers import csv_rows
from elmo.errors import DataError
from elmo.utils.files import sha256_of

log = logging.getLogger(__name__)


class AgNews(Corpus):
    """AG News, topic classification of news (Zhang et al. 2015), by default the descriptions alone.

    Args:
        dir: folder with the original `train.csv` and `test.csv`; None downloads them once.
        title: whether to put the title before the description, as most of the literature does; the
            corpus then has another name.
    """

    name = "ag_news"
    class_names = ("World", "Sports", "Business", "Sci/Tech")
    URL = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
    SHA256: ClassVar = {
        "train": "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
        "test": "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
    }
    ROWS: ClassVar = {"train": 120_000, "test": 7_600}

    def __init__(self, dir: str | None, title: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dir = Path(dir).expanduser() if dir else None
        self.title = title
        if title:
            self.name = f"{self.name}_titles"

    @cached_property
    def files(self) -> dict[str, Path]:
        """The file of each split.

        Raises:
            DataError: a file is missing, or cannot be downloaded.
        """
        if self.dir is None:
            return self._download()
        files = {split: self.dir / f"{split}.csv" for split in self.ROWS}
        for file in files.values():
            if not file.is_file():
                raise DataError(f"{file}: no such file; {WAYS_TO_AG_NEWS}")
        return files

    def _download(self) -> dict[str, Path]:
        config = DownloadConfig(
            cache_dir=self.cache_dir / "downloads", max_retries=1, use_etag=False
        )
        manager = DownloadManager(dataset_name=self.name, download_config=config)
        files = {}
        for split, expected in self.SHA256.items():
            url = f"{self.URL}{split}.csv"
            try:
                files[split] = Path(manager.download(url))
            except Exception as error:  # the network layers below raise errors of many kinds
                raise DataError(f"{url}: download failed ({error}); {WAYS_TO_AG_NEWS}") from error
            if (sha256 := sha256_of(files[split])) != expected:
                files[split].unlink()
                raise DataError(
                    f"{url}: sha256 {sha256}, expected {expected}; try again, or {WAYS_TO_AG_NEWS}"
                )
        return files

    def source_fingerprint(self) -> str:
        return "".join(sha256_of(file) for file in self.files.values())

    def read(self, split: str) -> Iterator[RawRow]:
        file, expected = self.files[split], self.ROWS[split]
        count = 0
        try:
            for row in read_ag_news_csv(file, self.title):
                count += 1
                yield row
        except DataError as error:
            raise DataError(f"{error}; {WAYS_TO_AG_NEWS}") from error
        if split == "test" and count != expected:
            raise DataError(
                f"{file}: {count:,} rows, expected {expected:,}, so that test results can be "
                f"compared; {WAYS_TO_AG_NEWS}"
            )
        if count != expected:
            log.warning("%s has %s rows, the original %s", file.name, f"{count:,}", f"{expected:,}")


WAYS_TO_AG_NEWS = (
    "put the original train.csv and test.csv in a folder and set it with data.dir=FOLDER or the "
    f"environment variable AG_NEWS_DIR (they are at {AgNews.URL}), or run on the built-in corpus "
    "with data=toy"
)


def read_ag_news_csv(file: Path, title: bool = False) -> Iterator[RawRow]:
    """Read the rows of an AG News file: class index (1..4), title, description; no header.

    The text is the description; with `title`, the title and a space precede it.

    Raises:
        DataError: the file is unreadable, damaged or empty, or has other rows; the message names
            the line.
    """
    row = -1
    for row, (line, fields) in enumerate(csv_rows(file)):
        place = f"{file}, line {line}"
        if len(fields) != 3:
            raise DataError(
                f"{place}: {len(fields)} columns, expected 3: class index, title, description"
            )
        if fields[0] not in ("1", "2", "3", "4"):
            raise DataError(f"{place}: class index {fields[0][:40]!r}, expected 1, 2, 3 or 4")
        yield RawRow(row, " ".join(fields[1 if title else 2 :]), int(fields[0]) - 1)
    if row < 0:
        raise DataError(f"{file}: empty file, expected rows of class index, title, description")
