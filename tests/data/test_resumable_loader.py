from __future__ import annotations

import pytest
import torch

from data.test_datamodule import classification_data
from elmo.data.corpora.toy import ToyNews


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_continues_after_the_batches_given(workers: int, toy: ToyNews) -> None:
    data = classification_data(toy, num_workers=workers, token_budget=4096)
    whole = [batch.row.tolist() for batch in data.train_dataloader()]
    interrupted = data.train_dataloader()
    batches = iter(interrupted)
    given = [next(batches).row.tolist() for _ in range(3)]
    state = interrupted.state_dict()  # type: ignore[attr-defined]
    resumed = data.train_dataloader()
    resumed.load_state_dict(state)  # type: ignore[attr-defined]
    assert given + [batch.row.tolist() for batch in resumed] == whole
    assert [batch.row.tolist() for batch in resumed] == whole  # the next epoch is a whole one
    resumed.load_state_dict(resumed.state_dict())  # type: ignore[attr-defined]
    assert [batch.row.tolist() for batch in resumed] == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_draws_no_random_numbers_of_the_training(workers: int, toy: ToyNews) -> None:
    data = classification_data(toy, num_workers=workers, token_budget=4096)
    before = torch.get_rng_state()
    for _ in data.train_dataloader():
        pass
    assert torch.equal(torch.get_rng_state(), before)
