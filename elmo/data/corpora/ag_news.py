"""AG News: the original CSV files, read from a folder or downloaded once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from datasets import DownloadConfig, DownloadManager

from elmo.data.corpus import Corpus, RawRow
from elmo.data.readers import csv_rows
from elmo.data.sources import SOURCES, count_sources, of_source, without_source
from elmo.errors import ConfigError, DataError
from elmo.utils.files import sha256_of

log = logging.getLogger(__name__)


class AgNews(Corpus):
    """AG News, topic classification of news (Zhang et al. 2015), by default the descriptions alone.

    Args:
        dir: folder with the original `train.csv` and `test.csv`; None downloads them once.
        title: whether to put the title before the description, as most of the literature does; the
            corpus then has another name.
        hold_out: an agency, such as AP or Reuters, whose rows of both files are the test split, and
            are in no other; the other rows of `test.csv` are left out. None keeps the files.
        strip_source: true removes the names of agencies from the beginning of all texts, as in
            "AP - " and "NEW YORK (Reuters) - "; None keeps them.

    Raises:
        ConfigError: `title` is set with `hold_out` or `strip_source`.
    """

    name = "ag_news"
    class_names = ("World", "Sports", "Business", "Sci/Tech")
    URL = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
    SHA256: ClassVar = {
        "train": "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
        "test": "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
    }
    ROWS: ClassVar = {"train": 120_000, "test": 7_600}

    def __init__(
        self,
        dir: str | None,
        title: bool = False,
        hold_out: str | None = None,
        strip_source: bool | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if title and (hold_out or strip_source):
            raise ConfigError(
                "data.title is true, but agencies are found where a text begins with the "
                "description; expected data.hold_out=null and data.strip_source=null with titles"
            )
        self.dir = Path(dir).expanduser() if dir else None
        self.title = title
        self.hold_out = hold_out
        self.strip_source = strip_source
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

    @property
    def variant(self) -> str:
        parts = [
            super().variant,
            f"{self.hold_out} held out" if self.hold_out else "",
            "agencies removed" if self.strip_source else "",
        ]
        return ", ".join(filter(None, parts))

    def files_fingerprint(self) -> str:
        """Return a hash of the rows in the files."""
        return "".join(sha256_of(file) for file in self.files.values())

    def source_fingerprint(self) -> str:
        files = self.files_fingerprint()
        if not (self.hold_out or self.strip_source):
            return files
        return f"{files} {self.hold_out} {self.strip_source} {SOURCES}"

    def read(self, split: str) -> Iterator[RawRow]:
        """Read the rows of a split.

        Where an agency is held out, the test split is its rows in `test.csv` and then those in
        `train.csv`, whose numbers continue after the last row of `test.csv`.

        Raises:
            ConfigError: no row is from the agency that is held out.
        """
        rows = self.read_file(split)
        if self.hold_out:
            if split == "test":
                rows = self._held_out(self.hold_out)
            else:
                rows = of_source(rows, self.hold_out, wanted=False)
        return without_source(rows) if self.strip_source else rows

    def _held_out(self, source: str) -> Iterator[RawRow]:
        found = False
        for split, first in (("test", 0), ("train", self.ROWS["test"])):
            for row in of_source(self.read_file(split), source, wanted=True):
                found = True
                yield row._replace(row=first + row.row)
        if not found:
            counts = count_sources(chain.from_iterable(map(self.read_file, self.ROWS)))
            known = ", ".join(f"{name} ({count:,})" for name, count in counts.most_common())
            raise ConfigError(
                f"data.hold_out is {source!r}, but no row begins with this agency; expected one of "
                f"{known or 'none: no row names an agency'}"
            )

    def read_file(self, split: str) -> Iterator[RawRow]:
        """Read the rows that are used of a file."""
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
