"""Charts and names where there is more than fits: long words, many words, many lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elmo.page import charts, classify, run_charts
from elmo.page.found_runs import find_runs
from report_runs import write_classifier

POINTS = np.array([[0.0, 1.0], [1.0, 2.0]])


def test_a_long_word_is_cut_where_it_is_shown() -> None:
    figure = charts.by_word(["bank", "w" * 500], {"effect": [0.1, 0.2]}, "effect")
    first, second = figure.layout.xaxis.ticktext
    assert first == "bank"
    assert len(second) <= 20
    assert second.endswith("…")


def test_all_words_have_bars_and_many_words_few_names() -> None:
    words = [f"w{number}" for number in range(200)]
    figure = charts.by_word(words, {"effect": [1.0] * 200}, "effect")
    assert list(figure.data[0].x) == list(range(200))
    assert list(figure.layout.xaxis.ticktext) == words[::3]
    assert list(figure.layout.xaxis.tickvals) == list(range(0, 200, 3))


def test_a_legend_takes_no_room_from_its_chart() -> None:
    def height(names: list[str]) -> int:
        return charts.curves(dict.fromkeys(names, POINTS), "step", "loss").layout.height

    short = height(["a", "b", "c"])
    assert height(["a"]) == short  # one row
    long = [f"{'a long name of a setting ' * 4}{number}" for number in range(10)]
    assert height(long) == short + 9 * 20  # each in its row


def test_classifiers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / path for path in ("a/first", "a/run", "b/run", "b/other")]
    for folder in folders[:3]:
        write_classifier(folder, 0.9)
    write_classifier(folders[3], 0.9, choices={"encoder": "word2vec", "mixer": "trainable"})
    keys = [str(folder) for folder in folders]
    first, second, third, other = classify._names(keys)
    assert (first, other) == ("ELMo, trainable, first", "Word2Vec")
    assert second == f"ELMo, trainable, run, {keys[1]}"
    assert third == f"ELMo, trainable, run, {keys[2]}"


def test_learning_curves_are_means_over_seeds(tmp_path: Path) -> None:
    for name, accuracy, seed, share in (
        ("a", 0.5, 0, 0.1),
        ("b", 0.7, 1, 0.1),
        ("c", 0.9, 0, 1.0),
    ):
        write_classifier(tmp_path / name, accuracy, seed, share=share)
    write_classifier(tmp_path / "alone", 0.8, 0, {"encoder": "word2vec", "mixer": "trainable"})
    found = [run for run in find_runs(tmp_path).runs if run.folder.is_relative_to(tmp_path)]
    made = run_charts.learning_curve(found)
    assert made is not None
    (line,) = made.children[1].children.figure.data  # a setting of one share has none
    assert list(line.y) == pytest.approx([0.6, 0.9], abs=1e-3)
    assert line.x[0] == pytest.approx(line.x[1] / 10, rel=0.01)
    assert run_charts.learning_curve(found[:1]) is None


def test_the_shades_of_a_confusion_matrix_are_shares_of_the_true_class() -> None:
    figure = charts.confusion(["a", "b"], np.array([[3, 1], [0, 0]]))
    assert np.array(figure.data[0].z).tolist() == [[0.75, 0.25], [0, 0]]
    assert list(figure.data[0].text[0]) == ["3", "1"]
