"""News agencies: which one a text is from, by the way it begins."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from elmo.data.corpus import RawRow
from elmo.data.text import clean

# By agency, the spellings at the beginning of a text; case does not count.
SOURCES: dict[str, tuple[str, ...]] = {
    "AFP": ("AFP",),
    "AP": ("AP",),
    "Bloomberg": ("Bloomberg",),
    "Canadian Press": ("Canadian Press", "CP"),
    "CBC": ("CBC SPORTS ONLINE",),
    "CBS MarketWatch": ("CBS.MW",),
    "Computerworld": ("COMPUTERWORLD",),
    "Dow Jones": ("Dow Jones",),
    "Forbes.com": ("Forbes.com",),
    "IDG": ("IDG NEWS SERVICE",),
    "InfoWorld": ("InfoWorld",),
    "MacCentral": ("MacCentral",),
    "New Ratings": ("New Ratings", "newratings.com"),
    "NewsFactor": ("NewsFactor",),
    "PC World": ("PC World",),
    "Reuters": ("Reuters",),
    "SiliconValley.com": ("SiliconValley.com",),
    "SPACE.com": ("SPACE.com",),
    "Sports Network": ("Sports Network",),
    "TechWeb": ("TechWeb",),
    "Ticker": ("Ticker", "SportsTicker"),
    "USATODAY.com": ("USATODAY.com",),
    "washingtonpost.com": ("washingtonpost.com",),
    "Xinhua": ("Xinhuanet",),
    "Ziff Davis": ("Ziff Davis",),
}
_AGENCY = {
    spelling.lower(): source for source, spellings in SOURCES.items() for spelling in spellings
}
_NAME = "|".join(map(re.escape, sorted(_AGENCY, key=len, reverse=True)))
# "AP - Shares fell": the agency alone.
_PREFIX = re.compile(rf"(?P<names>{_NAME}) --? ", re.IGNORECASE)
# "NEW YORK (Reuters) - Shares fell", "WASHINGTON (Dow Jones/AP) -- ...": after the place.
_DATELINE = re.compile(
    rf"(?P<place>[^()]{{0,60}})\((?P<names>(?:{_NAME})(?:/(?:{_NAME}))*)\) ?--? ?", re.IGNORECASE
)


class Sourced(NamedTuple):
    """A text and the agencies that its beginning names.

    Attributes:
        sources: none, or one; two where a text is of two agencies.
        text: the text without their names; the place of a dateline stays.
    """

    sources: frozenset[str]
    text: str


def read_source(text: str) -> Sourced:
    """Find the agencies at the beginning of a text that was cleaned."""
    names: list[str] = []
    if prefix := _PREFIX.match(text):
        names.append(prefix["names"])
        text = text[prefix.end() :]
    if dateline := _DATELINE.match(text):
        names += dateline["names"].split("/")
        place = dateline["place"].strip()
        text = (f"{place} - " if place else "") + text[dateline.end() :]
    return Sourced(frozenset(_AGENCY[name.lower()] for name in names), text)


def without_source(rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """Yield rows, cleaned, without the names of their agencies."""
    for row in rows:
        yield row._replace(text=read_source(clean(row.text)).text)


def of_source(rows: Iterable[RawRow], source: str, wanted: bool) -> Iterator[RawRow]:
    """Yield the rows that are from an agency, or all others where `wanted` is false."""
    for row in rows:
        if (source in read_source(clean(row.text)).sources) == wanted:
            yield row


def count_sources(rows: Iterable[RawRow]) -> Counter[str]:
    """Count the rows of each agency; a row of two counts for both."""
    return Counter(source for row in rows for source in read_source(clean(row.text)).sources)
