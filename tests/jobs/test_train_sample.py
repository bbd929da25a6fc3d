"""The rows of the train split on which a language model is measured."""

from __future__ import annotations

import numpy as np
import pytest

from data.test_batches import flat
from data.test_datamodule import epoch
from elmo.data.corpora.toy import ToyNews
from elmo.data.language_model_data import LanguageModelData
from elmo.errors import ConfigError


def language_model_data(
    toy: ToyNews, rows: int, seed: int = 0, train_rows: int | None = None
) -> LanguageModelData:
    return LanguageModelData(
        evaluation_rows=rows,
        train_rows=train_rows,
        corpus=toy,
        tokenizer=toy.tokenizer,
        token_budget=512,
        num_workers=0,
        seed=seed,
    )


def sampled(data: LanguageModelData) -> list[int]:
    return flat([batch.row.tolist() for batch in data.evaluation_loader("train")])


def test_the_train_sample_is_seeded(toy: ToyNews) -> None:
    data = language_model_data(toy, rows=100)
    rows = sampled(data)
    assert len(set(rows)) == len(rows) == 100
    assert sampled(data) == sampled(language_model_data(toy, rows=100)) == rows
    assert sorted(sampled(language_model_data(toy, rows=100, seed=1))) != sorted(rows)
    assert max(rows) > 500  # drawn from the whole split, not its beginning


def test_the_train_sample_names_rows_of_the_split(toy: ToyNews) -> None:
    data = language_model_data(toy, rows=100)
    for batch in data.evaluation_loader("train"):
        for tokens, length, label, row in zip(*batch[:4], strict=True):
            assert np.array_equal(tokens[:length], data.splits["train"].ids(int(row)))
            assert label == toy.splits["train"][int(row)]["label"]


def test_a_sample_as_large_as_the_split_is_the_split(toy: ToyNews) -> None:
    count = len(toy.splits["train"])
    assert sorted(sampled(language_model_data(toy, rows=count))) == list(range(count))
    assert sorted(sampled(language_model_data(toy, rows=10**6))) == list(range(count))


def test_only_the_train_split_is_sampled(toy: ToyNews) -> None:
    data = language_model_data(toy, rows=100)
    for split in ("validation", "test"):
        rows = [batch.row.tolist() for batch in data.evaluation_loader(split)]
        assert sorted(flat(rows)) == list(range(200))
    assert sorted(flat(epoch(data, 0))) == list(range(len(data.splits["train"])))


@pytest.mark.parametrize("rows", [0, -5])
def test_an_impossible_sample_is_refused(rows: int, toy: ToyNews) -> None:
    with pytest.raises(ConfigError, match=rf"datamodule\.evaluation_rows is {rows}"):
        language_model_data(toy, rows=rows)


def test_some_rows_are_trained_on_and_measured(toy: ToyNews) -> None:
    few = language_model_data(toy, rows=100, train_rows=120)
    rows = sorted(flat(epoch(few, 0)))
    assert len(set(rows)) == len(rows) == few.facts["pretraining_rows"] == 120
    assert sorted(flat(epoch(few, 1))) == rows
    assert len(set(sampled(few))) == 100
    assert set(sampled(few)) < set(rows)
    more = language_model_data(toy, rows=100, train_rows=300)
    assert set(rows) < set(flat(epoch(more, 0)))  # a larger search goes on where a smaller ended
    other = language_model_data(toy, rows=100, train_rows=120, seed=1)
    assert sorted(flat(epoch(other, 0))) != rows
    with pytest.raises(ConfigError, match=r"datamodule\.train_rows is 0"):
        language_model_data(toy, rows=100, train_rows=0)
