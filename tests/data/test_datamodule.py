from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.test_batches import flat
from elmo.data.classification_data import ClassificationData
from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import CLAUSES, RawRow, in_words
from elmo.data.datamodule import Batch, TokenData
from elmo.data.text import BOS, EOS, PAD, UNK, WordTokenizer
from elmo.data.tokens import TokenizedSplit
from elmo.errors import ConfigError

BUDGET = 512


def classification_data(toy: ToyNews, **changes: Any) -> ClassificationData:
    """Return a data module with small batches."""
    arguments = {"token_budget": BUDGET, "num_workers": 0, "seed": 0}
    return ClassificationData(corpus=toy, **{**arguments, **changes})


@pytest.fixture
def data(toy: ToyNews) -> ClassificationData:
    """A data module with small batches."""
    return classification_data(toy)


def epoch(data: TokenData, number: int) -> list[list[int]]:
    """Return the rows of each train batch."""
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(number)  # type: ignore[union-attr]
    return [batch.row.tolist() for batch in loader]


def test_each_document_comes_once_an_epoch(data: ClassificationData) -> None:
    for number in range(2):
        assert sorted(flat(epoch(data, number))) == list(range(len(data.splits["train"])))


def test_batches_keep_the_token_budget(data: ClassificationData) -> None:
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        assert all(batch.tokens.numel() <= BUDGET for batch in loader)


def test_epochs_differ_and_repeat(toy: ToyNews, data: ClassificationData) -> None:
    first, second = epoch(data, 0), epoch(data, 1)
    assert first != second
    assert len(first) == len(second)
    # The batches differ, not only their order.
    assert len({frozenset(rows) for rows in first} & {frozenset(rows) for rows in second}) < 5
    assert epoch(classification_data(toy), 1) == second
    assert epoch(classification_data(toy, seed=1), 1) != second


def test_batches_do_not_come_in_the_order_of_their_lengths(data: ClassificationData) -> None:
    lengths = [batch.tokens.shape[1] for batch in data.train_dataloader()]
    assert lengths != sorted(lengths)


def test_neither_global_seed_nor_earlier_epochs_matter(data: ClassificationData) -> None:
    expected = epoch(data, 1)
    torch.manual_seed(5)
    np.random.seed(5)
    loader = data.train_dataloader()
    _ = list(loader)
    loader.batch_sampler.sampler.set_epoch(1)  # type: ignore[union-attr]
    assert [batch.row.tolist() for batch in loader] == expected


def test_padding_is_rare(data: ClassificationData) -> None:
    masks = [batch.mask for batch in data.train_dataloader()]
    real = sum(int(mask.sum()) for mask in masks)
    assert real / sum(mask.numel() for mask in masks) > 0.97


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_whole_split_is_evaluated_by_length(split: str, data: ClassificationData) -> None:
    rows = flat([batch.row.tolist() for batch in data.evaluation_loader(split)])
    lengths = data.splits[split].lengths
    assert rows == sorted(range(len(lengths)), key=lambda row: (lengths[row], row))


def test_batches_contain_the_rows_of_the_corpus(toy: ToyNews, data: ClassificationData) -> None:
    rows = toy.splits["test"]
    words = toy.tokenizer.words
    for batch in data.test_dataloader():
        assert batch.tokens.dtype == batch.label.dtype == torch.int64
        assert torch.equal(batch.mask.sum(dim=1), batch.lengths)
        for tokens, length, label, row in zip(*batch[:4], strict=True):
            ids = tokens.tolist()
            assert ids[0] == BOS
            assert ids[length - 1] == EOS
            assert set(ids[length:]) <= {PAD}
            assert label == rows[int(row)]["label"]
            text = rows[int(row)]["text"].lower()
            known = [words[index] for index in ids[1 : length - 1] if index != UNK]
            assert all(word in text for word in known)
            assert ids[:length] == toy.tokenizer.encode([rows[int(row)]["text"]])[0].ids.tolist()


def test_workers_change_no_batch(toy: ToyNews) -> None:
    alone, helped = (
        classification_data(toy, num_workers=number, token_budget=4096) for number in (0, 2)
    )
    loaders = alone.train_dataloader(), helped.train_dataloader()
    for number in range(2):
        for loader in loaders:
            loader.batch_sampler.sampler.set_epoch(number)  # type: ignore[union-attr]
        for one, other in zip(*loaders, strict=True):
            assert isinstance(other, Batch)
            assert all(map(torch.equal, one[:4], other[:4]))


class Recorder(lightning.LightningModule):
    """A module that records the rows of each train batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.epochs: list[list[list[int]]] = []

    def on_train_epoch_start(self) -> None:
        self.epochs.append([])

    def training_step(self, batch: Batch) -> Tensor:
        self.epochs[-1].append(batch.row.tolist())
        return self.weight * batch.lengths.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_lightning_reshuffles_each_epoch(data: ClassificationData, tmp_path: Path) -> None:
    recorder = Recorder()
    lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    ).fit(recorder, train_dataloaders=data.train_dataloader())
    assert recorder.epochs == [epoch(data, 0), epoch(data, 1)]
    assert recorder.epochs[0] != recorder.epochs[1]


def test_tokens_are_memory_mapped(data: ClassificationData) -> None:
    for split in data.splits.values():
        assert isinstance(split.tokens, np.memmap)


@pytest.mark.parametrize("count", [1, 999, 1000, 2345])
def test_files_written_in_blocks_equal_those_of_numpy(count: int, tmp_path: Path) -> None:
    tokenizer = WordTokenizer.train(["a b"], min_count=1, max_size=None)
    texts = ["a b " * (number % 4) for number in range(count)]
    TokenizedSplit.build(tmp_path, iter(texts), np.arange(count), tokenizer, max_tokens=1000)
    documents = [document.ids for document in tokenizer.encode(texts)]
    np.save(tmp_path / "whole.npy", np.concatenate(documents))
    assert (tmp_path / "tokens.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    split = TokenizedSplit(tmp_path)
    assert all(np.array_equal(split.ids(row), ids) for row, ids in enumerate(documents))
    assert len(split) == count


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    """Numbers of a row may stay in memory, but neither text nor tokens."""

    class Long(ToyNews):
        """Stories of 400 characters and 50 words, all different."""

        def source_fingerprint(self) -> str:
            return str(self.rows)

        def read(self, split: str) -> Iterator[RawRow]:
            for row in range(self.rows if split == "train" else 10):
                yield RawRow(row, f"{split[:2]}{row:05} " * 50, row % 4)

    peaks = []
    for rows in (1100, 6100):
        corpus = Long(
            rows=rows,
            test_rows=10,
            seed=0,
            split_seed=0,
            validation_size=10,
            min_count=1,
            max_vocabulary=None,
            cache_dir=str(tmp_path),
        )
        tracemalloc.start()
        _ = classification_data(corpus).splits
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 5000 * 100


def test_the_second_start_tokenizes_nothing(
    toy: ToyNews, data: ClassificationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("tokenized again")

    monkeypatch.setattr(TokenizedSplit, "build", refuse)
    for method in ("encode", "encode_ids"):
        monkeypatch.setattr(WordTokenizer, method, refuse)
    again = classification_data(toy, token_budget=100, seed=3)
    assert again.facts == data.facts


def test_another_tokenizer_is_another_cache(toy: ToyNews, data: ClassificationData) -> None:
    tokenizer = WordTokenizer.train(toy.splits["train"]["text"], min_count=20, max_size=None)
    other = classification_data(toy, tokenizer=tokenizer)
    assert len(other.tokenizer) < len(toy.tokenizer)
    for split, before in data.splits.items():
        assert other.splits[split].unknown_rate > before.unknown_rate


def test_unknown_rates_and_counts(toy: ToyNews, data: ClassificationData) -> None:
    facts = data.facts
    known = set(toy.tokenizer.words)
    for split, rows in toy.splits.items():
        words = [
            word.lower() for text in toy.tokenizer.encode(list(rows["text"])) for word in text.words
        ]
        unknown = sum(word not in known for word in words)
        assert facts["unknown_rate"][split] == pytest.approx(unknown / len(words), abs=1e-12)
        assert facts["tokens"][split] == len(words) + 2 * len(rows)
        assert facts[f"{split}_rows"] == len(rows)
    # Words have to be unknown, fewer in the train split, or the test means little.
    assert 0 < facts["unknown_rate"]["train"] < facts["unknown_rate"]["validation"] < 1
    assert facts["vocabulary_size"] == len(known)


def test_vocabulary_and_unknown_rates_are_logged(
    toy: ToyNews, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="elmo.data.datamodule"):
        facts = classification_data(toy).facts
    assert f"V = {facts['vocabulary_size']:,} words" in caplog.text
    for split, rate in facts["unknown_rate"].items():
        assert f"{split} {rate:.2%}" in caplog.text


def test_the_line_on_a_corpus_names_what_is_not_zero() -> None:
    facts = dict.fromkeys(CLAUSES, 0) | {"train_rows_in_source": 120_000}
    facts |= {"train_rows": 114_893, "validation_rows": 5000, "test_rows": 7600}
    split = "split into 114,893 train, 5,000 validation, 7,600 test"
    assert in_words(facts) == f"120,000 train rows; {split}"
    for count, them in ((1, "it"), (107, "them")):
        found = in_words(facts | {"train_rows_also_in_test": count})
        dropped = f"{count} dropped because the test split contains {them}"
        assert found == f"120,000 train rows, {dropped}; {split}"
    everything = in_words({**dict.fromkeys(CLAUSES, 1234), **dict.fromkeys(facts, 1234)})
    assert everything.count("1,234") == len(CLAUSES) + 3


def test_the_line_on_a_corpus_knows_all_facts(toy: ToyNews) -> None:
    """A fact that is added later must not be left out silently."""
    told = {"repeated_descriptions", "test_rows_in_source"}  # by the rows, and the rows left
    counted = set(CLAUSES) - {"train_rows_also_in_validation"}  # of blocks alone
    assert toy.facts.keys() == {*counted, *told, "train_rows", "validation_rows", "test_rows"}


@pytest.mark.parametrize("budget", [0, -5])
def test_an_impossible_budget_is_refused(budget: int, toy: ToyNews) -> None:
    with pytest.raises(ConfigError, match=rf"datamodule\.token_budget is {budget}"):
        classification_data(toy, token_budget=budget)
