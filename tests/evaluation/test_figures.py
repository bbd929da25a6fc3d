from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from elmo.evaluation.figures import (
    ConfusionMatrix,
    perplexity_figure,
    reliability_figure,
    rendered,
)
from elmo.evaluation.language_model_scores import Group


def drawn(figure: Figure) -> Figure:
    rendered(figure)
    return figure


def test_cells_of_a_small_matrix_hold_share_and_count() -> None:
    counts = np.array([[3, 1], [0, 0]])
    matrix = ConfusionMatrix(["a", "b"])
    matrix.draw(counts, "test")
    texts = [text.get_text() for text in matrix.axes.texts]
    assert texts == ["75.0%\n3", "25.0%\n1", "0.0%\n0", "0.0%\n0"]


def test_cells_of_a_large_matrix_hold_per_cent_from_one_on() -> None:
    counts = np.zeros((31, 31), dtype=int)
    counts[2, 5], counts[2, 6] = 995, 5  # 99.5 and 0.5 per cent
    matrix = ConfusionMatrix([f"w{i}" for i in range(31)])
    matrix.draw(counts, "test")
    (text,) = matrix.axes.texts
    assert text.get_text() == "100"
    assert text.get_position() == (5, 2)  # column, row


@pytest.mark.parametrize("classes", [4, 31])
def test_a_matrix_is_the_same_alone_and_after_another(classes: int) -> None:
    names = [f"w{i}" for i in range(classes)]
    counts = np.arange(classes**2).reshape(classes, classes)
    matrix = ConfusionMatrix(names)
    before = matrix.draw(counts, "train")
    after = matrix.draw(counts.T, "test, forward")
    np.testing.assert_array_equal(after, ConfusionMatrix(names).draw(counts.T, "test, forward"))
    assert (after != before).any()


@pytest.mark.parametrize("classes", [4, 31])
def test_a_frame_and_what_fills_it_are_the_whole_figure(classes: int) -> None:
    matrix = ConfusionMatrix([f"w{i}" for i in range(classes)])
    pixels = matrix.draw(np.eye(classes, dtype=int), "test")
    figure = matrix.axes.figure
    assert isinstance(figure, Figure)
    figure.set_layout_engine("none")  # another pass would move the axes by a fraction of a pixel
    for artist in matrix.axes.get_children():
        artist.set_animated(False)
    np.testing.assert_array_equal(pixels, rendered(figure))


def test_perplexities_of_each_direction() -> None:
    groups = [
        Group("1", [2, 0, 2], [8.0, np.nan, 8.0]),
        Group("2", [2, 2, 4], [4.0, 16.0, np.inf]),
    ]
    figure = drawn(perplexity_figure(groups, "position", "test"))
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_equal(
        lines, {"forward": [8, 4], "backward": [np.nan, 16], "together": [8, np.nan]}
    )


def test_a_diverged_training_has_a_figure_too() -> None:
    drawn(perplexity_figure([Group("1", [2, 2, 4], [np.nan] * 3)], "position", "test"))
    drawn(reliability_figure(np.full((4, 3), np.nan), np.zeros(4), 15, np.nan, "test"))


def test_reliability_against_a_count_by_hand() -> None:
    confidence = np.array([0.55, 0.58, 0.95, 0.91, 0.99, 1.0])
    probabilities = np.stack([confidence, 1 - confidence], 1)
    labels = np.array([0, 1, 0, 0, 1, 0])
    figure = drawn(reliability_figure(probabilities, labels, 10, 0.1, "test"))
    curve = figure.axes[0].lines[1]
    assert np.asarray(curve.get_xdata()) == pytest.approx(np.array([0.565, 0.9625]))
    assert np.asarray(curve.get_ydata()) == pytest.approx(np.array([0.5, 0.75]))
    heights = [bar.get_height() for bar in figure.axes[1].patches]  # type: ignore[attr-defined]
    assert heights == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
