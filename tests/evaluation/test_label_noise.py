"""Label noise and near-duplicates: what pairs of labels say of the share of wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from elmo.data.corpus import Corpus, RawRow
from elmo.errors import ConfigError, DataError
from elmo.evaluation import near_duplicates as module
from elmo.evaluation.label_noise import Disagreement, ceiling, equal_texts, similar_texts
from elmo.evaluation.near_duplicates import near_duplicates

Row = tuple[str, int]
PLAIN = [(f"plain text number{n} of nothing{n} else{n}", n % 2) for n in range(20)]
STORY = "the bank raised its rates by half a point on tuesday as prices went on rising"


class Listed(Corpus):
    """A corpus of the rows that it is given."""

    name = "listed"
    class_names = ("World", "Sports", "Business")

    def __init__(self, train: list[Row], test: list[Row], cache_dir: Path) -> None:
        super().__init__(0, 1, 1, None, str(cache_dir))
        self.rows = {"train": train, "test": test}

    def source_fingerprint(self) -> str:
        return str(self.rows)

    def read(self, split: str) -> Iterator[RawRow]:
        for number, (text, label) in enumerate(self.rows[split]):
            yield RawRow(number, text, label)


def test_equal_texts_are_paired_within_their_group(tmp_path: Path) -> None:
    two = [("Twice the same", 0), ("twice the SAME", 1)]  # case does not count
    three = [("three times", 0), ("three times", 0), ("three times", 2)]
    agreed = [("always one", 1)] * 4
    corpus = Listed([*PLAIN, *two, *three, *agreed], [("test", 0)], tmp_path)
    found = equal_texts(corpus)
    assert sorted(zip(found.pairs.tolist(), found.apart.tolist(), strict=True)) == [
        (1, 1),
        (3, 2),
        (6, 0),
    ]
    assert (found.groups, found.conflicting) == (3, 2)
    with pytest.raises(DataError, match="no text occurs twice"):
        equal_texts(Listed(PLAIN, [("test", 0)], tmp_path))


def test_near_duplicates_are_rows_with_almost_the_same_words(tmp_path: Path) -> None:
    train = [*PLAIN, (STORY, 2)]
    test = [
        ("nothing of the kind was said", 0),
        (STORY.replace("tuesday", "monday"), 2),
        (STORY.replace("half", "a quarter of"), 1),
    ]
    corpus = Listed(train, test, tmp_path)
    found = near_duplicates(corpus, "test", 0.6)
    assert found.row.tolist() == [1, 2]
    assert found.train_row.tolist() == [20, 20]
    assert found.agrees.tolist() == [True, False]
    assert near_duplicates(corpus, "test", 1.0).row.tolist() == []
    grouped = similar_texts(corpus, "test", 0.6)
    assert (grouped.pairs.tolist(), grouped.apart.tolist()) == ([2], [1])
    with pytest.raises(DataError, match="smaller --cosine"):
        similar_texts(corpus, "test", 1.0)
    with pytest.raises(ConfigError, match=r"cosine of near-duplicates is 1\.5"):
        near_duplicates(corpus, "test", 1.5)


def test_only_row_numbers_are_kept_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Listed([*PLAIN, (STORY, 2)], [(f"{STORY} again", 1)], tmp_path)
    first = near_duplicates(corpus, "test", 0.8)
    kept = b"".join(
        f.read_bytes() for f in (tmp_path / "near_duplicates").rglob("*") if f.is_file()
    )
    assert b"bank" not in kept
    monkeypatch.setattr(module, "_find", None)  # would fail
    assert near_duplicates(corpus, "test", 0.8).row.tolist() == first.row.tolist() == [0]


@pytest.mark.parametrize("error", [0.0, 0.05, 0.2])
def test_the_share_of_wrong_labels_is_found(error: float) -> None:
    """Two labels of 20,000 texts, each wrong with a probability."""
    wrong = np.random.default_rng(0).random((20_000, 2)) < error
    apart = (wrong[:, 0] != wrong[:, 1]).astype(int)
    found = ceiling(Disagreement(np.ones(20_000, dtype=int), apart))
    assert found.error == pytest.approx(error, abs=0.01)
    assert found.low <= found.accuracy <= found.high
    assert found.accuracy == pytest.approx(1 - error, abs=0.01)


def test_fewer_groups_say_less() -> None:
    def width(groups: int) -> float:
        apart = (np.arange(groups) % 8 == 0).astype(int)
        found = ceiling(Disagreement(np.ones(groups, dtype=int), apart))
        return found.high - found.low

    assert width(50) == pytest.approx(width(5000) * 10, rel=0.2)


def test_labels_that_are_drawn_by_lot_leave_half() -> None:
    found = ceiling(Disagreement(np.array([1, 1]), np.array([1, 1])))
    assert (found.error, found.accuracy) == (0.5, 0.5)
