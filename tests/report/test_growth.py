"""The section on scaling, from invented runs of which the law is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from elmo.report.collect import collect
from elmo.report.growth import fit_law, how_accuracy_grows
from elmo.report.keep import keep_material
from elmo.report.writing import Manuscript
from elmo.utils import drawing
from report_runs import write_bilm, write_classifier

WIDTHS = (64, 128, 256, 512)


def loss_at(width: float) -> float:
    return 3 + 4 * width**-0.5


def error_at(width: float) -> float:
    return 0.05 + 2 / width


def write_scaling(root: Path, widths: tuple[int, ...] = WIDTHS) -> None:
    """Write a biLM of each width, and a classifier on each."""
    for width in widths:
        digest = write_bilm(root / f"lm-{width}", float(np.exp(loss_at(width))), seed=0)
        file = root / f"lm-{width}/metrics.json"
        record = json.loads(file.read_text())
        record["study"] = "scaling"
        record["settings"] |= {"trainer": {"max_epochs": 8}}
        record["settings"]["bilm"]["hidden_dim"] = width
        file.write_text(json.dumps(record))
        accuracy = 1 - error_at(width)
        write_classifier(root / f"on-{width}", accuracy, bilm=digest, study="scaling", val=accuracy)


def section(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Manuscript:
    monkeypatch.setattr(drawing, "svg", lambda figure: b"")
    paper = Manuscript("figures")
    how_accuracy_grows(collect([folder]), paper)
    return paper


@pytest.mark.parametrize(("floor", "exponent"), [(3.0, 0.5), (0.0, 0.1), (0.08, 1.5)])
def test_a_known_law_is_found(floor: float, exponent: float) -> None:
    x = [1000.0, 4000.0, 16000.0, 52000.0]
    law = fit_law(x, [floor + 40 * value**-exponent for value in x])
    assert law.floor == pytest.approx(floor, abs=1e-3)
    assert law.exponent == pytest.approx(exponent, rel=1e-2)
    assert law.at(1e6) == pytest.approx(floor + 40 * 1e6**-exponent, rel=1e-2)


def test_the_largest_point_is_held_out() -> None:
    x = np.array(WIDTHS, dtype=float)
    y = loss_at(1.0) * x**-0.25
    y[-1] *= 1.1  # the law does not know of it
    assert fit_law(x[:-1], y[:-1]).at(x[-1]) == pytest.approx(y[-1] / 1.1, rel=1e-3)


def test_the_table_has_the_law_and_its_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scaling(tmp_path / "runs")
    text = section(tmp_path / "runs", monkeypatch).text
    row = "| loss by LSTM width | 3 | 3.000 | 0.50 | 512 | 3.1768 | 3.1768 |"
    assert row in text
    assert "| error by LSTM width | 3 | 0.050 | 1.00 | 512 | 0.0539 | 0.0539 |" in text
    assert "by epochs" not in text  # all have the same
    # A point off the law is missed by as much as it is off.
    file = tmp_path / "runs/lm-512/metrics.json"
    record = json.loads(file.read_text())
    record["metrics"]["val/perplexity"] = float(np.exp(1.1 * loss_at(512)))
    file.write_text(json.dumps(record))
    assert "| 3.4945 | 3.1768 | -9.1 % |" in section(tmp_path / "runs", monkeypatch).text


def test_runs_of_the_study_stand_in_no_other_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scaling(tmp_path / "runs")
    write_classifier(tmp_path / "runs/main", 0.8)
    material = collect([tmp_path / "runs"])
    assert not material.bilms
    assert len(material.classifiers) == 1
    keep_material(material, tmp_path / "kept")
    text = section(tmp_path / "runs", monkeypatch).text
    assert section(tmp_path / "kept", monkeypatch).text == text


def test_three_points_are_too_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scaling(tmp_path, WIDTHS[:3])
    paper = section(tmp_path, monkeypatch)
    assert not paper.figures
    assert [title for title, _ in paper.left_out] == ["How accuracy grows"]
