"""The rows of AG News that the released run was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from elmo.data.corpora.ag_news import AgNews, read_ag_news_csv
from elmo.data.corpus import RawRow
from elmo.errors import ConfigError, DataError
from elmo.utils.files import sha256_of
from elmo.utils.shipped import SHIPPED

HASH_DTYPE = np.dtype("<u8")


def row_hashes(rows: Iterable[RawRow]) -> np.ndarray:
    """Return a 64-bit hash of the class, the letters and the digits of each row (N,).

    Copies of the corpus differ in punctuation, case and white space, so these do not count. The
    text cannot be recovered from the hash.
    """
    return np.frombuffer(b"".join(map(_hash, rows)), dtype=HASH_DTYPE)


def _hash(row: RawRow) -> bytes:
    characters = "".join(filter(str.isalnum, row.text.lower()))
    return hashlib.blake2b(f"{row.label} {characters}".encode(), digest_size=8).digest()


class ReleasedAgNews(AgNews):
    """The train rows of AG News that the released run was trained on; the test split is complete.

    The rows are found in the original `train.csv`, or any copy that contains them, and come in the
    order of the released run, so that the validation rows are the same as well.

    Args:
        rows: file with the `row_hashes` of the train rows, relative to the checkout.
        dir: see `AgNews`.

    Raises:
        ConfigError: `title` is set.
    """

    name = "ag_news_57k"

    def __init__(self, rows: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.title:
            raise ConfigError(
                "data.title is true, but the rows of data=ag_news_57k are of descriptions alone; "
                "use data=ag_news_titles for titles and descriptions"
            )
        self.rows = SHIPPED / rows

    def files_fingerprint(self) -> str:
        if not self.rows.is_file():
            raise DataError(
                f"{self.rows}: no such file; it comes with the project and lists the rows to use; "
                "restore it, or use all rows with data=ag_news"
            )
        return sha256_of(self.rows) + sha256_of(self.files["test"])

    def read_file(self, split: str) -> Iterator[RawRow]:
        """Read the rows that are used of a file.

        Raises:
            DataError: rows are missing from `train.csv`.
        """
        if split == "test":
            yield from super().read_file(split)
            return
        wanted = np.fromfile(self.rows, HASH_DTYPE)
        positions: dict[int, list[int]] = {}  # of each hash, the first one last
        for position in reversed(range(len(wanted))):
            positions.setdefault(int(wanted[position]), []).append(position)
        rows: dict[int, RawRow] = {}
        for row in read_ag_news_csv(self.files["train"]):
            if free := positions.get(int.from_bytes(_hash(row), "little")):
                position = free.pop()
                rows[position] = RawRow(position, row.text, row.label)
        if missing := len(wanted) - len(rows):
            raise DataError(
                f"{self.files['train']}: {missing:,} of the {len(wanted):,} rows that {self.rows} "
                "lists are not in it; expected the original train.csv of 120,000 rows; use "
                "data=ag_news for the rows of this file"
            )
        yield from (rows[position] for position in range(len(wanted)))
