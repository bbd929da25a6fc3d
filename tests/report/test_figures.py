"""The figures of a report: what a reader can tell apart."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from elmo.report import figures
from elmo.report.collect import collect
from elmo.report.paper import write_report
from elmo.utils import drawing
from report_runs import write_everything


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a test draws."""
    kept: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        kept.append(figure)
        return b""

    monkeypatch.setattr(drawing, "svg", keep)
    return kept


def test_no_type_is_smaller_than_9_points(drawn: list[Figure], tmp_path: Path) -> None:
    write_everything(tmp_path)
    write_report(collect([tmp_path]), "figures")
    assert len(drawn) == 9
    for figure in drawn:
        assert figure.get_size_inches()[0] == drawing.WIDTH  # so that points are points
        texts: Any = figure.findobj(Text)
        assert min(text.get_fontsize() for text in texts if text.get_text()) >= 9


def test_groups_are_bars_of_errors_from_zero(drawn: list[Figure]) -> None:
    panels = {"words": (["few", "many"], {"a": [0.9, 0.8], "b": [0.7, 0.95]})}
    figures.by_group(panels)
    [axes] = drawn[0].axes
    bars = [bar for container in axes.containers for bar in container]
    assert np.allclose([bar.get_height() for bar in bars], [10, 20, 30, 5])
    assert axes.get_ylim()[0] == 0
    places = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars)
    assert all(end < start for (_, end), (start, _) in pairwise(places))


def test_each_bilm_has_a_panel(drawn: list[Figure]) -> None:
    curve = np.array([[1, 90.0], [2, 30.0]])
    splits = {"train": curve, "validation": curve}
    figures.pretraining({f"biLM {number}": splits for number in range(1, 5)})
    titles = [axes.get_title() for axes in drawn[0].axes if axes.get_visible()]
    assert titles == ["biLM 1", "biLM 2", "biLM 3", "biLM 4"]


def test_labels_of_equal_ends_do_not_overlap() -> None:
    places = figures._apart([0.34, 0.32, 0.34], 0.01)
    assert np.allclose(np.diff(sorted(places)), [0.013, 0.01], atol=0.01)
    assert min(np.diff(sorted(places))) >= 0.01 - 1e-12
    assert np.isclose(np.mean(places), np.mean([0.34, 0.32, 0.34]))
    assert figures._apart([0.1, 0.9], 0.1) == [0.1, 0.9]
