from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cost, cost_check, harness, sweep
from conftest import run_here


def test_the_error_is_that_of_the_prediction() -> None:
    row = {"step": 200.0, "GFLOP": 3.0, "M weights": 5.0}
    coefficients = np.array([0.05, 0.02, 0.01])  # seconds: 0.15 + 0.1 + 0.01
    checked = cost_check.against(row, coefficients)
    assert checked["predicted step"] == pytest.approx(260)
    assert checked["error"] == "+30%"
    assert cost.predicted(row, coefficients) == pytest.approx(0.26)


def test_the_stream_has_every_word_and_frequent_ones_first(tmp_path: Path) -> None:
    documents = cost_check.write_words(tmp_path / "words.txt", words=2000, documents=50)
    lines = (tmp_path / "words.txt").read_text().splitlines()
    assert len(lines) == documents == 50 + 67
    assert len({word for line in lines for word in line.split()}) == 2000
    counts = Counter(word for line in lines[:50] for word in line.split())
    assert counts["w0"] > 5 * counts["w50"]


def test_a_stream_is_trained_on_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(script: str, *overrides: str) -> float:
        small = ("bilm.hidden_dim=8", "embedding.dim=8", "trainer.accelerator=cpu")
        finished = run_here([str(harness.ROOT / f"{script}.py"), *overrides, *small])
        assert finished.code == 0, finished.stderr
        return 1.0

    monkeypatch.setattr(sweep, "run", run)
    row = cost_check.measure_stream(vocabulary=300, steps=3)
    assert row["point"] == "stream, V = 300"
    assert row["step"] > 0
    assert row["tokens"] == 2048
    assert 0.001 < row["GFLOP"] < 1
