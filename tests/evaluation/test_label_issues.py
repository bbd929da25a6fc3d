"""Confident learning: which labels are suspected, and the file that names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elmo.errors import ConfigError, DataError
from elmo.evaluation.label_issues import Issues, label_issues, read_issues, write_issues
from evaluation.test_label_noise import PLAIN, Listed


def test_the_rule_by_hand() -> None:
    """Every threshold is 0.5."""
    labels = np.array([0, 0, 1, 1, 2, 2])
    probabilities = np.array(
        [
            [0.9, 0.05, 0.05],
            [0.1, 0.8, 0.1],  # rather 1
            [0.2, 0.7, 0.1],
            [0.6, 0.3, 0.1],  # rather 0
            [0.3, 0.1, 0.6],
            [0.45, 0.15, 0.4],  # most likely 0, but not as surely as rows of 0 are
        ]
    )
    found = label_issues(probabilities, labels)
    assert found.position.tolist() == [1, 3]
    assert found.label.tolist() == [0, 1]
    assert found.suggested.tolist() == [1, 0]
    assert found.probability.tolist() == [0.8, 0.6]
    assert found.pairs() == [(0, 1, 1), (1, 0, 1)]


def test_a_class_that_is_never_sure_has_a_lower_threshold() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[1.0, 0.0], [0.65, 0.35], [0.7, 0.3], [0.7, 0.3]])
    # Thresholds 0.825 and 0.3: the second row reaches that of class 1 alone.
    assert label_issues(probabilities, labels).position.tolist() == [1]


def test_most_of_the_labels_that_were_changed_are_found() -> None:
    random = np.random.default_rng(0)
    true = random.integers(0, 4, 4000)
    labels = true.copy()
    changed = random.random(4000) < 0.05
    labels[changed] = (true[changed] + random.integers(1, 4, changed.sum())) % 4
    logits = 4 * np.eye(4)[true] + random.normal(size=(4000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = label_issues(probabilities, labels)
    assert changed[found.position].mean() > 0.9
    right = found.suggested == true[found.position]
    assert right.sum() > 0.6 * changed.sum()


def corpus_and_issues(folder: Path) -> tuple[Listed, Issues]:
    corpus = Listed(PLAIN, [("a test row", 0)], folder)
    some = np.array([2, 5])
    labels = np.array(corpus.splits["train"]["label"])[some]
    return corpus, Issues(some, labels, 1 - labels, np.array([0.75, 0.5]))


def test_the_file_names_rows_by_numbers_alone(tmp_path: Path) -> None:
    corpus, issues = corpus_and_issues(tmp_path)
    file = tmp_path / "suspects.csv"
    write_issues(file, corpus, issues)
    assert read_issues(file, corpus).tolist() == [2, 5]
    header, *lines = file.read_text().splitlines()
    assert header == "corpus,row,label,suggested,probability"
    rows = np.array(corpus.splits["train"]["row"])
    for line, position in zip(lines, issues.position, strict=True):
        fingerprint, *numbers = line.split(",")
        assert fingerprint == corpus.fingerprint
        assert float(numbers[0]) == rows[position]
        assert all(float(number) >= 0 for number in numbers)


def test_files_of_other_rows_are_refused(tmp_path: Path) -> None:
    corpus, issues = corpus_and_issues(tmp_path)
    file = tmp_path / "suspects.csv"
    write_issues(file, corpus, issues)
    other = Listed([*PLAIN, ("one more", 0)], [("a test row", 0)], tmp_path)
    with pytest.raises(ConfigError, match=corpus.fingerprint):
        read_issues(file, other)
    (held_out,) = corpus.splits["validation"]["row"]
    file.write_text(f"corpus,row\n{corpus.fingerprint},{held_out}\n")
    with pytest.raises(ConfigError, match=f"row {held_out} is not in the train split"):
        read_issues(file, corpus)


@pytest.mark.parametrize(
    "content", [b"corpus,row\n", b"row\n3\n", b"corpus,row\nx,three\n", b"corpus,row\nx\n", b"\xff"]
)
def test_what_is_no_such_file_is_refused(content: bytes, tmp_path: Path) -> None:
    corpus, _ = corpus_and_issues(tmp_path)
    file = tmp_path / "suspects.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match="--suspects FILE"):
        read_issues(file, corpus)
    with pytest.raises(DataError, match="nowhere"):
        read_issues(tmp_path / "nowhere", corpus)
