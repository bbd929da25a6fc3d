"""The section of a report on the effect of hyperparameters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from report.test_report import undrawn, untest
from report_runs import write_bilm, write_classifier

TITLE = "## The effect of hyperparameters\n"


def write(folder: Path, accuracy: float, seed: int = 0, **changes: Any) -> None:
    """Write a classifier with settings of its head; "absent" leaves a key out."""
    write_classifier(folder, accuracy, seed)
    record = json.loads((folder / "metrics.json").read_text())
    head = {"hidden_dim": 256, "dropout": 0.3, "act": None, **changes}
    record["settings"]["head"] = {key: value for key, value in head.items() if value != "absent"}
    (folder / "metrics.json").write_text(json.dumps(record))


def section(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return undrawn(folder, monkeypatch).partition(TITLE)[2].partition("\n## ")[0]


def test_a_pair_differs_in_one_hyperparameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        write(tmp_path / f"base-{seed}", 0.8, seed)
        write(tmp_path / f"wide-{seed}", 0.9, seed, hidden_dim=768)
        write(tmp_path / f"both-{seed}", 0.85, seed, hidden_dim=768, dropout=0.5)
    found = section(tmp_path, monkeypatch)
    changes = re.findall(
        r"^\| (`.*?) \| ELMo.* \| (0.* to 0\.\d+) \| (\S+) \|", found, re.MULTILINE
    )
    assert changes == [
        ("`head.dropout` 0.3 to 0.5", "0.9000 to 0.8500", "-5.00"),
        ("`head.hidden_dim` 256 to 768", "0.8000 to 0.9000", "+10.00"),
    ]
    assert "The largest effect on validation: `head.hidden_dim` 256 to 768" in found


def test_few_changes_count_where_a_setting_has_no_closer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "base", 0.8)
    write(tmp_path / "two", 0.9, hidden_dim=768, dropout=0.5)
    assert "`head.dropout` 0.3 to 0.5, `head.hidden_dim` 256 to 768" in section(
        tmp_path, monkeypatch
    )


def test_a_key_that_only_one_has_is_no_change_but_null_is_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a/old", 0.8, act="absent")  # written before the key was there
    write(tmp_path / "a/new", 0.9, act="relu")
    assert not section(tmp_path / "a", monkeypatch)
    write(tmp_path / "b/null", 0.8)
    write(tmp_path / "b/new", 0.9, act="relu")
    assert "`head.act` none to relu" in section(tmp_path / "b", monkeypatch)


def test_a_group_that_is_off_is_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "alone", 0.8)
    choices = {"encoder": "elmo", "mixer": "trainable", "teacher": "runs"}
    write(tmp_path / "student", 0.9)
    file = tmp_path / "student/metrics.json"
    record = json.loads(file.read_text())
    record["choices"] |= choices
    file.write_text(json.dumps(record))
    assert "| `teacher` none to runs |" in section(tmp_path, monkeypatch)


def test_a_search_is_shown_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = ((256, 0.1, 0.80), (256, 0.2, 0.82), (768, 0.3, 0.90), (768, 0.4, 0.84))
    for number, (width, dropout, accuracy) in enumerate(trials):
        write(tmp_path / f"trial-{number}", accuracy, hidden_dim=width, dropout=dropout)
        untest(tmp_path / f"trial-{number}")
    found = section(tmp_path, monkeypatch)
    assert "| `head.hidden_dim` | 256 | 2 | 0.8100 | 0.8200 |" in found
    assert "|  | 768 | 2 | 0.8700 | 0.9000 |" in found


def test_language_models_are_compared_by_perplexity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        write_bilm(tmp_path / f"lm-{number}", 30.0 - number, seed=number)
    found = section(tmp_path, monkeypatch)
    assert "| `bilm.dropout` 0 to 0.1 | 1, 1 | 30.00 to 29.00 | 30.00 to 29.00 |" in found
