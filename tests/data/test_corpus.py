from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import Corpus, RawRow, in_words
from elmo.data.text import UNK
from elmo.errors import ConfigError
from small_corpora import Row, news, texts, toy_news


class Given(Corpus):
    """A corpus of the rows of a test."""

    name = "given"
    class_names = ("World", "Sports", "Business", "Sci/Tech")

    def __init__(self, train: list[Row], test: list[Row], **arguments: Any) -> None:
        defaults = {"split_seed": 0, "min_count": 1, "max_vocabulary": None}
        super().__init__(**{**defaults, **arguments})
        self.rows = {"train": train, "test": test}

    def source_fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.rows).encode()).hexdigest()

    def read(self, split: str) -> Iterator[RawRow]:
        for number, (text, label) in enumerate(self.rows[split]):
            yield RawRow(number, text, label)


def test_empty_descriptions_are_skipped_and_counted(tmp_path: Path) -> None:
    train = [("", 0), ("  ", 1), ("\\ &lt;b&gt;", 2), *news(10)]
    test = [*news(4, "test"), ("\n", 3)]
    corpus = Given(train, test, validation_size=2, cache_dir=str(tmp_path))
    assert corpus.facts["empty_train_rows"] == 3
    assert corpus.facts["empty_test_rows"] == 1
    assert corpus.facts["train_rows_in_source"] == 13
    assert len(corpus.splits["train"]) + len(corpus.splits["validation"]) == 10
    # Rows keep their number in the file.
    assert min(*corpus.splits["train"]["row"], *corpus.splits["validation"]["row"]) == 3


def test_validation_rows_by_share(tmp_path: Path) -> None:
    corpus = Given(news(60), news(3, "test"), validation_size=0.1, cache_dir=str(tmp_path))
    assert len(corpus.splits["validation"]) == 6
    for size in (1.5, -0.1):
        with pytest.raises(ConfigError, match=rf"validation_size is {size}; .* between 0 and 1"):
            Given(news(60), news(3, "test"), validation_size=size, cache_dir=str(tmp_path))


def test_the_corpus_sets_the_rules_of_the_tokenizer(tmp_path: Path) -> None:
    rows = [(f"The-Bank {text}", label) for text, label in news(9)]
    rules = {"validation_size": 2, "cache_dir": str(tmp_path)}
    by_default = Given(rows, news(3, "test"), **rules)
    others = Given(rows, news(3, "test"), lowercase=False, pre_tokenizer="white_space", **rules)
    assert by_default.fingerprint == others.fingerprint  # the same rows and splits
    assert "bank" in by_default.tokenizer.words
    assert "The-Bank" in others.tokenizer.words


def test_train_rows_that_are_in_test_are_dropped_and_counted(tmp_path: Path) -> None:
    test = [("Rates rise at the bank", 2), ("It's over", 1), ("only here", 0)]
    same = [("rates RISE at  the\\bank", 2), ("It #39;s over", 0), ("rates rise at the bank", 3)]
    near = [("rates rise at the banks", 2), ("it's over.", 1)]
    train = [*news(10), *same, *near]
    corpus = Given(train, test, validation_size=3, cache_dir=str(tmp_path))
    assert corpus.facts["train_rows_also_in_test"] == 3
    kept = {text.lower() for split in ("train", "validation") for text in texts(corpus, split)}
    assert kept == {text for text, _ in news(10) + near}
    assert texts(corpus, "test") == [text for text, _ in test]


def test_the_facts_contain_counts_of_zero(tmp_path: Path) -> None:
    facts = Given(news(9), news(3, "test"), validation_size=2, cache_dir=str(tmp_path)).facts
    for fact in (
        "empty_train_rows",
        "empty_test_rows",
        "train_rows_also_in_test",
        "repeated_descriptions",
        "repeated_rows",
        "descriptions_with_conflicting_labels",
    ):
        assert facts.get(fact) == 0, fact


def test_conflicting_labels_are_counted_and_kept(tmp_path: Path) -> None:
    twins = [("same words", 0), ("Same  words", 3), ("agreed", 1), ("agreed", 1)]
    corpus = Given([*twins, *news(20)], news(3), validation_size=5, cache_dir=str(tmp_path))
    assert corpus.facts["descriptions_with_conflicting_labels"] == 1
    assert corpus.facts["repeated_descriptions"] == 2
    assert corpus.facts["repeated_rows"] == 4
    rows = [row for split in ("train", "validation") for row in corpus.splits[split]]
    labels = {row["label"] for row in rows if row["text"].lower() == "same words"}
    assert labels == {0, 3}
    assert Counter(row["text"] for row in rows)["agreed"] == 2


@settings(deadline=None, max_examples=25)
@given(
    repeats=st.lists(st.integers(1, 4), min_size=4, max_size=20),
    size=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_equal_rows_stay_together_in_an_exact_split(
    repeats: list[int], size: int, seed: int
) -> None:
    rows = [
        (f"story {n}" if i % 2 else f"STORY {n}", i % 4)
        for n, r in enumerate(repeats)
        for i in range(r)
    ]
    rows += news(size)  # with enough single rows, any size can be reached exactly
    with tempfile.TemporaryDirectory() as folder:
        corpus = Given(
            rows, news(1, "test"), split_seed=seed, validation_size=size, cache_dir=folder
        )
        train, validation = (corpus.splits[split].to_list() for split in ("train", "validation"))
    assert len(validation) == size
    assert not {row["text"].lower() for row in train} & {row["text"].lower() for row in validation}
    # No row is lost, repeated or relabelled.
    both = sorted((row["row"], row["text"], row["label"]) for row in train + validation)
    assert both == [(number, text, label) for number, (text, label) in enumerate(rows)]


@pytest.mark.parametrize("size", [60, 61, 5000])
def test_a_validation_split_larger_than_the_data(size: int, tmp_path: Path) -> None:
    corpus = Given(news(60), news(3, "test"), validation_size=size, cache_dir=str(tmp_path))
    with pytest.raises(ConfigError, match=rf"data\.validation_size is {size}.* 60 usable"):
        _ = corpus.splits


def test_an_empty_validation_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.validation_size is 0"):
        Given(news(9), news(3, "test"), validation_size=0, cache_dir=str(tmp_path))


def test_the_tokenizer_sees_the_train_split_only(tmp_path: Path) -> None:
    rows = [(f"story word{number}", 0) for number in range(40)]
    corpus = Given(rows, [("testword story", 1)], validation_size=15, cache_dir=str(tmp_path))
    known = set(corpus.tokenizer.words[4:])
    assert known == {word for text in texts(corpus, "train") for word in text.split()}
    for text in [*texts(corpus, "validation"), "testword"]:
        (document,) = corpus.tokenizer.encode([text.removeprefix("story ")])
        assert document.ids.tolist()[1:-1] == [UNK]


@pytest.mark.parametrize("change", [{"min_count": 2}, {"max_vocabulary": 10}])
def test_another_vocabulary_is_not_read_from_the_cache(
    change: dict[str, int], tmp_path: Path
) -> None:
    rows = [(f"story word{number} word{number // 2}", 0) for number in range(40)]
    arguments = {"validation_size": 5, "cache_dir": str(tmp_path)}
    plain = Given(rows, news(1, "test"), **arguments)
    changed = Given(rows, news(1, "test"), **{**arguments, **change})
    assert len(changed.tokenizer) < len(plain.tokenizer)


def test_toy_news_depends_on_its_seed(toy: ToyNews, tmp_path: Path) -> None:
    sizes = {split: len(rows) for split, rows in toy.splits.items()}
    assert sizes["validation"] == 200
    assert sizes["test"] == 200
    other = toy_news(tmp_path, seed=1)
    assert other.fingerprint != toy.fingerprint
    assert len(set(texts(other, "test")) & set(texts(toy, "test"))) < 10


def test_another_choice_of_validation_rows_is_another_corpus(tmp_path: Path) -> None:
    """Prepared data of different splits never mix, and the default keeps the key it had."""
    rows = {"validation_size": 20, "cache_dir": str(tmp_path)}
    plain = Given(news(200), news(3, "test"), **rows)
    blocks = [
        Given(news(200), news(3, "test"), validation_blocks=count, **rows) for count in (2, 4)
    ]
    assert len({corpus.fingerprint for corpus in (plain, *blocks)}) == 3
    assert Given(news(200), news(3, "test"), validation_blocks=None, **rows).fingerprint == (
        plain.fingerprint
    )
    for corpus, count in zip(blocks, (2, 4), strict=True):
        numbers = corpus.splits["validation"]["row"]
        assert len(numbers) == 20
        assert sum(b - a > 1 for a, b in pairwise(numbers)) == count - 1
        assert corpus.identity["variant"] == f"validation rows in {count} blocks"
    assert sum(b - a > 1 for a, b in pairwise(plain.splits["validation"]["row"])) > 10
    assert "variant" not in plain.identity


def test_blocks_drop_and_count_rows_that_are_in_validation(tmp_path: Path) -> None:
    train = [(f"story {number % 50}", number % 4) for number in range(200)]
    corpus = Given(
        train, news(3, "test"), validation_size=20, validation_blocks=1, cache_dir=str(tmp_path)
    )
    assert not set(texts(corpus, "train")) & set(texts(corpus, "validation"))
    assert corpus.facts["train_rows_also_in_validation"] == 60
    assert "60 dropped because the validation split contains them" in in_words(corpus.facts)


def test_a_number_of_blocks_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.validation_blocks is 0"):
        Given(news(9), news(3), validation_size=2, validation_blocks=0, cache_dir=str(tmp_path))
