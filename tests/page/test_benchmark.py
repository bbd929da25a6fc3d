from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import page


@pytest.mark.slow
def test_every_tab_is_asked_and_answers(runs: Path) -> None:
    rows = page.answer_times(runs, rounds=2)
    assert [(row["tab"], row["models"]) for row in rows] == [
        ("classify", 3), ("layers", 1), ("language model", 1),
    ]  # fmt: skip
    for row in rows:
        assert 0 < row["median ms"] <= row["95th percentile ms"]


def test_a_refusal_is_no_answer(address: str, runs: Path) -> None:
    question = page._question("classify", "", [str(runs / "learned")], "", "")
    with pytest.raises(RuntimeError, match="no words"):
        question.ask(address)
