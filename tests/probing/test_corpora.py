from __future__ import annotations

from pathlib import Path

import pytest

from elmo.data.corpora.toy import ToyNews
from elmo.errors import ConfigError
from elmo.probing.corpora import read_corpus, topic_document, truecase_document
from elmo.probing.words import drawn


def cases(text: str) -> dict[str, str]:
    return {word.form: word.labels["truecase"] for word in truecase_document(text).words}


def test_words_that_may_start_a_sentence_are_left_out() -> None:
    text = (
        'NEW YORK (Reuters) - Shares of Apple fell. Bush said, "We won" in the U.S. Later -- '
        "Maybe: Yes; Analysts' view of Oracle's 2 Chips, Google and 'Sun'"
    )
    assert cases(text) == {
        "york": "capital",
        "of": "lower",
        "apple": "capital",
        "fell": "lower",
        "said": "lower",
        "won": "lower",
        "the": "lower",
        "u.s.": "capital",
        "oracle": "capital",
        "chips": "capital",
        "google": "capital",
        "and": "lower",
    }


def test_the_encoder_never_sees_the_case() -> None:
    found = truecase_document("The Bank of İzmir, IBM said")
    assert all(unit == unit.lower() for unit in found.units)
    words = {found.units[word.unit]: word.labels["truecase"] for word in found.words}
    assert words["bank"] == words["ibm"] == "capital"
    assert words["of"] == words["said"] == "lower"


def test_a_topic_is_that_of_the_whole_text() -> None:
    found = topic_document("Rain fell.", "World")
    assert found.units == ["Rain fell."]
    assert [(word.form, word.end, word.labels) for word in found.words] == [
        ("", None, {"topic": "World"})
    ]


def test_the_splits_of_a_corpus(toy: ToyNews) -> None:
    found = read_corpus(toy, "topic", rows=50)
    assert {split: len(documents) for split, documents in found.items()} == {
        "train": 50,
        "validation": 50,
        "test": 50,
    }
    labels = {word.labels["topic"] for document in found["train"] for word in document.words}
    assert labels == set(toy.class_names)
    texts = dict(zip(toy.splits["test"]["text"], toy.splits["test"]["label"], strict=True))
    for document in found["test"]:
        assert toy.class_names[texts[document.units[0]]] == document.words[0].labels["topic"]
    assert read_corpus(toy, "topic", 50) == found


def test_rows_are_drawn_without_repetition_and_in_order() -> None:
    assert drawn(5, None) == drawn(5, 5) == drawn(5, 9) == [0, 1, 2, 3, 4]
    some = drawn(1000, 10)
    assert some == sorted(set(some)) == drawn(1000, 10)
    assert len(some) == 10
    assert max(some) > 500


def test_a_corpus_that_has_nothing_to_tell_apart(
    toy: ToyNews, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    monkeypatch.setattr("elmo.probing.corpora.texts_of", lambda rows: ["all in lower case"] * 9)
    with pytest.raises(ConfigError, match=r"data=toy have no capitals .*--corpus RUN"):
        read_corpus(toy, "truecase", 5)
    monkeypatch.setattr(ToyNews, "class_names", ("news",))
    with pytest.raises(ConfigError, match=r"data=toy has one class, 'news'"):
        read_corpus(toy, "topic", 5)
