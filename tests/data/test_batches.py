from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo.data.batches import Batch, EpochOrder, TokenBudgetBatches, pad
from elmo.data.text import PAD


def flat(batches: list[list[int]]) -> list[int]:
    """Return the rows of all batches."""
    return [row for batch in batches for row in batch]


LENGTHS = st.lists(st.integers(2, 40), min_size=1, max_size=60).map(np.array)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 150), st.one_of(st.none(), st.integers(0, 3)))
def test_batches_partition_the_rows_within_the_budget(
    lengths: np.ndarray, budget: int, seed: int | None
) -> None:
    batches = TokenBudgetBatches(EpochOrder(lengths, seed), budget)
    for number in range(3):
        batches.sampler.set_epoch(number)
        chosen = list(batches)
        assert len(chosen) == len(batches)
        assert sorted(flat(chosen)) == list(range(len(lengths)))
        for rows in chosen:
            assert len(rows) == 1 or len(rows) * lengths[rows].max() <= budget


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 150))
def test_batches_are_as_full_as_the_budget_allows(lengths: np.ndarray, budget: int) -> None:
    batches = list(TokenBudgetBatches(EpochOrder(lengths, None), budget))
    for rows, following in pairwise(batches):
        assert (len(rows) + 1) * lengths[following[0]] > budget


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 150))
def test_the_unshuffled_order_is_by_length_and_stable(lengths: np.ndarray, budget: int) -> None:
    rows = flat(list(TokenBudgetBatches(EpochOrder(lengths, None), budget)))
    assert rows == sorted(range(len(lengths)), key=lambda row: (lengths[row], row))


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=7), min_size=1, max_size=5))
def test_padding_follows_each_document(documents: list[list[int]]) -> None:
    tokens, lengths = pad([np.array(ids, dtype=np.int32) for ids in documents])
    batch = Batch(tokens, lengths, lengths, lengths)
    width = max(map(len, documents))
    assert tokens.tolist() == [ids + [PAD] * (width - len(ids)) for ids in documents]
    assert lengths.tolist() == batch.mask.sum(dim=1).tolist() == list(map(len, documents))
    for row, ids in enumerate(documents):
        assert tokens[row][batch.mask[row]].tolist() == ids
