"""What a report states as a finding, and what it must not state."""

from __future__ import annotations

from pathlib import Path

import pytest

from report.test_report import undrawn, untest
from report_runs import write_classifier


def test_lambdas_behind_matrices_are_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, width in (("plain", None), ("turned", 8)):
        for seed in range(3):
            for mixer in ("trainable", "learned", "frozen"):
                choices = {"encoder": "elmo", "mixer": mixer}
                run = tmp_path / folder / f"{mixer}-{seed}"
                write_classifier(run, 0.8, seed, choices, projection_dim=width)
    findings = ("the most weight on layer", "Between the best draw", "![lambdas]")
    plain = undrawn(tmp_path / "plain", monkeypatch)
    turned = undrawn(tmp_path / "turned", monkeypatch)
    assert all(finding in plain for finding in findings)
    assert not any(finding in turned for finding in findings)
    assert "are in the table only: each layer is multiplied by a learned matrix first" in turned
    assert "| ELMo, trainable with matrices | 3 | 0.20" in turned


def test_how_often_the_test_split_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        write_classifier(tmp_path / f"run-{seed}", 0.7, seed)
    untest(tmp_path / "run-2")
    text = undrawn(tmp_path, monkeypatch)
    assert "the 2 runs of this report that have test figures were evaluated on it" in text
    assert "read once" not in text
