from __future__ import annotations

import numpy as np
import pytest

from elmo.data.corpus import RawRow
from elmo.data.sources import SOURCES, count_sources, of_source, read_source, without_source

TEXTS = [
    ("AP - Shares fell", {"AP"}, "Shares fell"),
    ("Reuters - Shares fell", {"Reuters"}, "Shares fell"),
    ("NEW YORK (Reuters) - Shares fell", {"Reuters"}, "NEW YORK - Shares fell"),
    ("By A. B. TORONTO (AP) -- Beer", {"AP"}, "By A. B. TORONTO - Beer"),
    ("(Sports Network) - Shares fell", {"Sports Network"}, "Shares fell"),
    ("Canadian Press - BANFF (CP) - Parks", {"Canadian Press"}, "BANFF - Parks"),
    ("WASHINGTON (Dow Jones/AP) -- Oil", {"AP", "Dow Jones"}, "WASHINGTON - Oil"),
    ("MANILA (reuters) - Storm", {"Reuters"}, "MANILA - Storm"),
    ("CHICAGO (CBS.MW) -- Oil", {"CBS MarketWatch"}, "CHICAGO - Oil"),
]
# A name elsewhere, a longer word, and a place or a phrase before a dash name no agency.
OTHERS = [
    "Shares fell, AP - reports",
    "APPLE - Shares fell",
    "NEW YORK - Shares fell",
    "Apple (AP) said - well",
    "Hewlett-Packard (HP) - Shares fell",
    "AP-style writing",
    "Reuters said (AP) nothing",
    f"{'Long ' * 20}(Reuters) - Shares fell",
    "",
]


@pytest.mark.parametrize(("text", "sources", "rest"), TEXTS)
def test_the_beginning_names_the_agency(text: str, sources: set[str], rest: str) -> None:
    assert read_source(text) == (sources, rest)
    assert read_source(rest) == (frozenset(), rest)  # nothing of it is left


@pytest.mark.parametrize("text", OTHERS)
def test_no_agency_is_found_elsewhere(text: str) -> None:
    assert read_source(text) == (frozenset(), text)


@pytest.mark.parametrize("source", SOURCES)
def test_every_spelling_is_read_in_both_places(source: str) -> None:
    for spelling in SOURCES[source]:
        for text in (f"{spelling} - News", f"OSLO ({spelling.upper()}) -- News"):
            assert read_source(text).sources == {source}


def test_an_agency_and_the_others_share_out_the_rows() -> None:
    random = np.random.default_rng(0)
    texts = [text for text, *_ in TEXTS] + OTHERS
    rows = [RawRow(i, texts[i], 0) for i in random.permutation(len(texts))]
    for source in ("AP", "Reuters", "AFP"):
        one, others = (list(of_source(rows, source, wanted)) for wanted in (True, False))
        assert sorted([*one, *others]) == sorted(rows)
        assert {row.row for row in one} == {i for i, (_, s, _) in enumerate(TEXTS) if source in s}
    assert count_sources(rows)["AP"] == 3
    assert not count_sources(without_source(rows))
