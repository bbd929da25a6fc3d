"""The released run: where it lies, and the rows that it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from elmo.data.corpora.ag_news import AgNews, read_ag_news_csv
from elmo.data.corpus import RawRow
from elmo.errors import ConfigError, DataError
from elmo.utils.files import sha256_of

CHECKOUT = Path(__file__).parent.parent
ROWS_KIND = np.dtype("<u8")


def row_hashes(rows: Iterable[RawRow]) -> np.ndarray:
    """(N,) 64 bits for each row: of its class, and the letters and digits of its description.

    Punctuation, case and white space are left out, in which copies of the corpus differ. The text
    cannot be had back from it.
    """
    found = [_hash(row) for row in rows]
    return np.frombuffer(b"".join(found), dtype=ROWS_KIND)


def _hash(row: RawRow) -> bytes:
    signs = "".join(filter(str.isalnum, row.text.lower()))
    return hashlib.blake2b(f"{row.label} {signs}".encode(), digest_size=8).digest()


class ReleasedAgNews(AgNews):
    """The train rows of AG News that the released run was trained on; the test split is whole.

    Out of the original `train.csv`, or any copy that has them, in the order of the released run, so
    that the validation rows are the same, too.

    Args:
        rows: file with the `row_hashes` of the train rows, relative to the checkout.
        dir: see `AgNews`.
    """

    name = "ag_news_57k"

    def __init__(self, rows: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.title:
            raise ConfigError(
                "data.title is true, but the rows of data=ag_news_57k are of descriptions alone; "
                "take data=ag_news_titles for titles and descriptions"
            )
        self.rows = CHECKOUT / rows

    def source_fingerprint(self) -> str:
        if not self.rows.is_file():
            raise DataError(
                f"{self.rows}: no such file; it comes with the project and says which rows are "
                "meant; get it back, or take all rows with data=ag_news"
            )
        return sha256_of(self.rows) + sha256_of(self.files["test"])

    def read(self, split: str) -> Iterator[RawRow]:
        """
        Raises:
            DataError: rows are missing from `train.csv`.
        """
        if split == "test":
            yield from super().read(split)
            return
        wanted = np.fromfile(self.rows, ROWS_KIND)
        places: dict[int, list[int]] = {}
        for place in reversed(range(len(wanted))):
            places.setdefault(int(wanted[place]), []).append(place)
        found: dict[int, RawRow] = {}
        for row in read_ag_news_csv(self.files["train"]):
            waiting = places.get(int.from_bytes(_hash(row), "little"))
            if waiting:
                place = waiting.pop()
                found[place] = RawRow(place, row.text, row.label)
        if missing := len(wanted) - len(found):
            raise DataError(
                f"{self.files['train']}: {missing:,} of the {len(wanted):,} rows that {self.rows} "
                "names are not in it; expected the original train.csv of 120,000 rows, or "
                "take the rows that are there with data=ag_news"
            )
        yield from (found[place] for place in range(len(wanted)))
