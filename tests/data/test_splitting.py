from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo.data.splitting import (
    TrainValidationSplit,
    stratified_sample,
    text_digests,
    train_validation_split,
)
from elmo.errors import ConfigError

Row = tuple[str, int]  # text, class from 0


def rows_of(letters: str) -> st.SearchStrategy[list[Row]]:
    """Return a strategy of rows with short texts of the letters."""
    texts = st.text(st.sampled_from(letters), min_size=1, max_size=2)
    return st.lists(st.tuples(texts, st.integers(0, 3)), max_size=40)


def reference(train: list[Row], test: list[Row], size: int, seed: int) -> TrainValidationSplit:
    """Split the rows with dictionaries instead of arrays."""
    in_test = {text.lower() for text, _ in test}
    groups: dict[str, list[int]] = defaultdict(list)
    for number, (text, _) in enumerate(train):
        if text.lower() not in in_test:
            groups[text.lower()].append(number)
    kept: list[int] = []
    drawn: list[int] = []
    keys = list(groups)
    for index in np.random.default_rng(seed).permutation(len(keys)):
        group = groups[keys[index]]
        (drawn if len(drawn) + len(group) <= size else kept).extend(group)
    repeated = [group for group in groups.values() if len(group) > 1]
    facts = {
        "train_rows_also_in_test": sum(text.lower() in in_test for text, _ in train),
        "repeated_descriptions": len(repeated),
        "repeated_rows": sum(map(len, repeated)),
        "descriptions_with_conflicting_labels": sum(
            len({train[number][1] for number in group}) > 1 for group in repeated
        ),
    }
    return TrainValidationSplit(np.array(sorted(kept)), np.array(sorted(drawn)), facts)


@settings(deadline=None)
@given(rows_of("aAbBcé"), rows_of("abÉ"), st.integers(1, 30), st.integers(0, 9))
def test_the_split_equals_that_of_the_reference(
    train: list[Row], test: list[Row], size: int, seed: int
) -> None:
    actual = train_validation_split(
        text_digests(text for text, _ in train),
        np.array([label for _, label in train], dtype=np.int64),
        text_digests(text for text, _ in test),
        size,
        seed,
    )
    expected = reference(train, test, size, seed)
    assert actual.train.tolist() == expected.train.tolist()
    assert actual.validation.tolist() == expected.validation.tolist()
    assert actual.facts == expected.facts


@settings(deadline=None)
@given(
    rows_of("aAbBcdefg"), rows_of("ab"), st.integers(1, 20), st.integers(1, 6), st.integers(0, 9)
)
def test_blocks_are_consecutive_and_have_no_equal_row_outside(
    train: list[Row], test: list[Row], size: int, blocks: int, seed: int
) -> None:
    digests = text_digests(text for text, _ in train)
    labels = np.array([label for _, label in train], dtype=np.int64)
    tested = text_digests(text for text, _ in test)
    found = train_validation_split(digests, labels, tested, size, seed, blocks)
    usable = np.flatnonzero(~np.isin(digests, tested))
    assert len(found.validation) == min(size, len(usable))
    places = np.searchsorted(usable, found.validation)
    assert usable[places].tolist() == found.validation.tolist()
    assert (np.diff(places) > 1).sum() < blocks  # runs of the rows that are not in test
    assert not set(digests[found.train].tolist()) & set(digests[found.validation].tolist())
    # What is neither in train nor in validation has an equal row in validation, and is counted.
    gone = np.setdiff1d(usable, np.concatenate([found.train, found.validation]))
    assert np.isin(digests[gone], digests[found.validation]).all()
    assert found.facts["train_rows_also_in_validation"] == len(gone)


def test_blocks_are_of_equal_length_at_places_that_the_seed_draws() -> None:
    digests = text_digests(str(number) for number in range(1000))
    labels, none = np.zeros(1000, dtype=np.int64), text_digests([])
    starts = set()
    for seed in range(200):
        found = train_validation_split(digests, labels, none, 90, seed, 3).validation
        again = train_validation_split(digests, labels, none, 90, seed, 3).validation
        assert np.array_equal(found, again)
        runs = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
        assert all(len(run) % 30 == 0 for run in runs)  # two blocks may touch
        assert sum(map(len, runs)) == 90
        starts |= {int(run[0]) for run in runs}
    assert min(starts) < 50
    assert max(starts) > 920
    assert len(starts) > 300


@settings(deadline=None)
@given(st.text(), st.text())
def test_digests_are_equal_if_lower_cased_texts_are(one: str, other: str) -> None:
    digests = text_digests([one, one.swapcase(), other])
    assert digests.dtype.itemsize == 16
    for text, digest in ((one.swapcase(), digests[1]), (other, digests[2])):
        assert (digest == digests[0]) == (text.lower() == one.lower())


@pytest.mark.parametrize("share", [0.01, 0.1, 0.37, 1.0])
def test_a_share_of_every_class_is_drawn(share: float) -> None:
    labels = np.random.default_rng(1).choice(4, 1000, p=[0.7, 0.2, 0.09, 0.01])
    rows = stratified_sample(labels, share, seed=0)
    assert (np.diff(rows) > 0).all()
    for label in range(4):
        expected = math.ceil(share * (labels == label).sum())
        assert (labels[rows] == label).sum() == expected
    assert np.array_equal(rows, stratified_sample(labels, share, seed=0))
    assert share == 1 or not np.array_equal(rows, stratified_sample(labels, share, seed=1))


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    labels = np.random.default_rng(1).integers(0, 4, 1000)
    few, more = (set(stratified_sample(labels, share, seed=5)) for share in (0.03, 0.3))
    assert few < more


@pytest.mark.parametrize("share", [0, -0.1, 1.01, math.nan])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="label_share is"):
        stratified_sample(np.zeros(3), share, seed=0)
