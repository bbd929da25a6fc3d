"""The sections of a report on several biLMs and on fine-tuned biLMs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from report.test_report import undrawn
from report_runs import write_classifier

LEARNED = {"encoder": "elmo", "mixer": "learned"}


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two seeds on each of three biLMs, and two fine-tuned ones, the best of all."""
    for bilm, accuracy in (("aa", 0.80), ("bb", 0.84), ("cc", 0.88)):
        for seed in range(2):
            folder = tmp_path / f"{bilm}-{seed}"
            write_classifier(folder, accuracy, seed, LEARNED, bilm=bilm)
    for seed in range(2):
        write_classifier(tmp_path / f"tuned-{seed}", 0.95, seed, LEARNED, bilm="cc", finetune=True)
    return tmp_path


def test_several_bilms(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = section(undrawn(runs, monkeypatch), "Several biLMs")
    assert "ELMo, learned on 3 biLMs: 0.8400 on test" in found
    assert "their deviation is 4.00 points, that of the seeds" in found
    rows = re.findall(r"^\| (\w{8}) \| 2 \| (0\.\d+)", found, re.MULTILINE)
    assert rows == [("cccccccc", "0.8800"), ("bbbbbbbb", "0.8400"), ("aaaaaaaa", "0.8000")]
    assert np.isclose(np.std([0.80, 0.84, 0.88], ddof=1), 0.04)


def test_fine_tuned_settings_are_compared_in_their_own_section(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = undrawn(runs, monkeypatch)
    found = section(text, "Fine-tuning")
    assert "ELMo, learned, fine-tuned reaches 0.9500 on test (2 seeds)" in found
    assert re.search(r"\| -[78]\.\d\d \| 2 \| \d+ / \d+ \| < 0\.001 \|", found)
    for other in ("ELMo beside Word2Vec, SVD and TF-IDF", "The lambdas", "Several biLMs"):
        assert "fine-tuned" not in section(text, other)


def test_one_frozen_bilm_leaves_both_sections_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classifier(tmp_path / "one", 0.8, 0, LEARNED)
    text = undrawn(tmp_path, monkeypatch)
    missing = section(text, "What is not in this report")
    assert "Several biLMs: no setting was trained on more than one" in missing
    assert "Fine-tuning: it needs tested runs with and without" in missing
