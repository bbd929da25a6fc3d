"""The sections on words, probes and label noise, from invented files with known figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elmo.errors import DataError
from elmo.report.collect import collect
from elmo.report.keep import keep_material
from elmo.report.words import _smaller, read_confusion
from report.test_report import undrawn
from report_runs import FACTS, write_bilm, write_classifier

MATRIX = "true \\ predicted,the,a,other\nthe,8,1,1\na,3,6,1\nother,2,2,90\n"


def probe(layer: int | str, mean: float, **more: Any) -> dict[str, Any]:
    scores = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "seeds": [mean]}
    control = {**scores, "mean": 0.125}
    common = {"encoder": "elmo", "probe": "linear", "ambiguous": scores, "selectivity": control}
    return {**common, "layer": layer, "accuracy": scores, **more}


def write_instruments(root: Path) -> None:
    write_bilm(root / "lm")
    for split in ("validation", "test"):
        for way in ("forward", "backward"):
            (root / f"lm/tables/confusion_{split}_{way}.csv").write_text(MATRIX)
    write_classifier(root / "elmo", 0.8)
    task = {
        "encoders": {"elmo": {"layers": 3}},
        "baselines": {"word_type": 0.7},
        "results": [
            *(probe(layer, mean) for layer, mean in enumerate((0.8, 0.9, 0.85))),
            probe("mix", 0.91, lambdas=[[0.2, 0.5, 0.3], [0.0, 0.7, 0.3]]),
        ],
    }
    (root / "probes").mkdir()
    content = {"models": {"elmo": {"fingerprint": "ab12cd"}}, "seeds": 3, "tasks": {"upos": task}}
    (root / "probes/any.json").write_text(json.dumps(content))
    source = {"texts": "equal, in train", "groups": 453, "conflicting": 57, "disagreement": 0.126}
    source |= {"error": 0.07, "ceiling": 0.93, "low": 0.92, "high": 0.95}
    noise = {"corpus": "toy", "fingerprint": FACTS["fingerprint"], "sources": [source]}
    pair = {"label": "Sports", "suggested": "World", "rows": 1234}
    found = {"suspected": 1500, "share": 0.03, "folds": 5, "accuracy": 0.9, "pairs": [pair]}
    noise["cross_validation"] = found
    (root / "noise.json").write_text(json.dumps(noise))


def test_what_the_files_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_instruments(tmp_path / "runs")
    text = undrawn(tmp_path / "runs", monkeypatch)
    assert "layer 1 of ELMo is best (0.900; layer 2 of ELMo 0.850), and its interval is" in text
    assert "| ELMo | linear | 1 | 0.900 | 0.890 to 0.910 | 0.900 | 0.125 |" in text
    assert "| upos | ELMo | linear | 0.10 | 0.60 | 0.30 |" in text
    assert "is 13.00 points below the ceiling from texts that are equal, in train" in text
    assert "| equal, in train | 453 | 57 | 12.6% | 7.0% | 93.0% | 92.0% to 95.0% |" in text
    assert "1,500 train rows (3.0%) have a label that is doubted" in text
    assert "| Sports | World | 1,234 |" in text
    assert "| test, forward | 20 | 70.0 % | `a` to `the` 3, `the` to `a` 1 |" in text
    # What is kept makes the same report.
    keep_material(collect([tmp_path / "runs"]), tmp_path / "kept")
    assert undrawn(tmp_path / "kept", monkeypatch) == text


def test_a_task_in_two_files_has_the_results_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_instruments(tmp_path)
    content = json.loads((tmp_path / "probes/any.json").read_text())
    content["tasks"]["upos"]["results"] = [probe("mix", 0.95, lambdas=[[0.1, 0.1, 0.8]])]
    (tmp_path / "probes/more.json").write_text(json.dumps({**content, "seeds": 10}))
    text = undrawn(tmp_path, monkeypatch)
    assert "| ELMo | linear | 1 | 0.900 |" in text
    assert "| ELMo | linear | mix | 0.950 |" in text
    assert "| ELMo | linear | mix | 0.910 |" not in text
    # Another model of the same name has results of its own; a biLM of the report has its name.
    digest = write_bilm(tmp_path / "other-lm", 30.0, seed=1)[:8]
    models = {"elmo": {"fingerprint": "ef34", "bilm": digest}}
    (tmp_path / "probes/more.json").write_text(json.dumps({**content, "models": models}))
    text = undrawn(tmp_path, monkeypatch)
    assert "| ELMo, ab12 | linear | mix | 0.910 |" in text
    assert "| ELMo, biLM 2 | linear | mix | 0.950 |" in text


def test_noise_of_another_corpus_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_instruments(tmp_path)
    noise = json.loads((tmp_path / "noise.json").read_text())
    (tmp_path / "noise.json").write_text(json.dumps({**noise, "fingerprint": "else"}))
    text = undrawn(tmp_path, monkeypatch)
    assert "- What noise in the labels leaves: the folders contain no file" in text


def test_rare_words_join_the_others() -> None:
    counts = np.arange(25).reshape(5, 5)
    smaller = _smaller(counts, 2)
    assert smaller.sum() == counts.sum()
    assert smaller[:2, :2].tolist() == counts[:2, :2].tolist()
    assert smaller[0, 2] == counts[0, 2:].sum()


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    file = tmp_path / "confusion.csv"
    for text in ("true,the,other\nthe,1\n", "true,the,other\nthe,x,1\nother,1,1\n", ""):
        file.write_text(text)
        with pytest.raises(DataError, match=r"confusion\.csv"):
            read_confusion(file)
