from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from elmo.errors import DataError
from elmo.probing.labels import UNSEEN, ProbingTask, ambiguous, baselines, control_task, task_of
from elmo.probing.words import Document, Word


def document(labels: list[tuple[str, str | None]]) -> Document:
    words = [
        Word(form, unit, 0, None, {} if label is None else {"tag": label})
        for unit, (form, label) in enumerate(labels)
    ]
    return Document([form for form, _ in labels], words)


def task(train: list[tuple[str, str | None]], test: list[tuple[str, str | None]]) -> ProbingTask:
    return task_of(
        "tag",
        {"train": [document(train)], "validation": [document(train)], "test": [document(test)]},
    )


TRAIN: list[tuple[str, str | None]] = [
    *[("bank", "N")] * 3,
    ("bank", "V"),
    ("run", "V"),
    ("the", None),
    ("old", "A"),
]


def test_labels_keep_their_places_and_new_ones_cannot_be_found() -> None:
    found = task(TRAIN, [("the", None), ("run", "V"), ("oh", "X")])
    assert found.names == ["N", "V", "A"]
    assert found.splits["train"].places.tolist() == [0, 1, 2, 3, 4, 6]
    assert found.splits["test"].places.tolist() == [1, 2]
    assert found.splits["test"].classes.tolist() == [1, UNSEEN]


def test_baselines_by_hand() -> None:
    test: list[tuple[str, str | None]] = [
        ("bank", "N"),  # the most frequent tag of the word
        ("bank", "V"),
        ("run", "V"),
        ("new", "N"),  # a new word takes the most frequent tag of all
        ("newer", "N"),
    ]
    found = task(TRAIN, test)
    assert ambiguous(found).tolist() == [True, True, False, False, False]
    assert baselines(found) == (3 / 5, 4 / 5, 1 / 2)
    assert baselines(task(TRAIN, [("run", "V")])) == (0, 1, None)


def test_documents_have_no_word_types() -> None:
    found = task([("", "N"), ("", "V"), ("", "N")], [("", "N")])
    assert not found.has_types
    assert baselines(found) == (1, None, None)
    assert not ambiguous(found).any()


def test_a_control_label_is_constant_over_a_type_and_follows_the_distribution() -> None:
    generator = np.random.default_rng(0)
    forms = [f"w{number}" for number in generator.integers(0, 3000, 20_000)]
    words: list[tuple[str, str | None]] = [
        (form, str(label))
        for form, label in zip(forms, generator.choice(["N"] * 7 + ["V"] * 3, 20_000), strict=True)
    ]
    original = task(words, words[:5000])
    control = control_task(original, seed=1)
    of_type: dict[str, set[int]] = {}
    for labels in control.splits.values():
        for form, number in zip(labels.forms, labels.classes, strict=True):
            of_type.setdefault(form, set()).add(int(number))
    assert {len(numbers) for numbers in of_type.values()} == {1}
    counts = Counter(next(iter(numbers)) for numbers in of_type.values())
    assert counts[0] / len(of_type) == pytest.approx(0.7, abs=0.03)
    again, other = control_task(original, seed=1), control_task(original, seed=2)
    assert np.array_equal(again.splits["test"].classes, control.splits["test"].classes)
    assert not np.array_equal(other.splits["test"].classes, control.splits["test"].classes)


def test_what_cannot_be_probed() -> None:
    with pytest.raises(DataError, match="task tag: no labelled word in the test split"):
        task(TRAIN, [("the", None)])
    with pytest.raises(DataError, match="every word of the train split has the label 'N'"):
        task([("bank", "N")], [("bank", "N")])
