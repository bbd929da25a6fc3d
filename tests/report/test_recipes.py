"""One report of several folders: recipes beside each other, rows under two names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from elmo.report.collect import collect
from elmo.report.keep import keep_material
from report.test_report import undrawn
from report_runs import FACTS, write_classifier

OTHER = {**FACTS, "name": "toy_file", "fingerprint": "cccc3333"}


def write_both(root: Path, vocabulary: str = "2182d7fa") -> None:
    """Write the defaults on a file, and a better recipe on the same rows under another name."""
    for name, head, data, gain in (
        ("plain", "pool", OTHER, 0.0),
        ("best", "attention", FACTS, 0.1),
    ):
        facts = {**data, "tokenizer": "2182d7fa" if name == "plain" else vocabulary}
        for encoder, mixer, accuracy in (
            ("elmo", "trainable", 0.80),
            ("elmo", "frozen", 0.78),
            ("word2vec", "trainable", 0.70),
        ):
            choices = {"encoder": encoder, "mixer": mixer, "head": head}
            folder = root / f"{name}/{encoder}-{mixer}"
            write_classifier(folder, accuracy + gain, 0, choices, data=facts)
            file = folder / "metrics.json"
            record = json.loads(file.read_text())
            record["choices"]["data"] = data["name"]
            file.write_text(json.dumps(record))
    write_classifier(root / "best/svm", 0.75, 0, {"classifier": "svm"})


def sections(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_recipes_stand_side_by_side_and_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_both(tmp_path)
    text = undrawn(tmp_path, monkeypatch)
    for number, best in ((1, "0.9000"), (2, "0.8000")):
        found = sections(text, f"ELMo against Word2Vec, SVD and TF-IDF, recipe {number}")
        suffix = "" if number == 1 else ", recipe 2"
        title = rf"\*\*ELMo, trainable{suffix}\*\* has the highest mean test accuracy"
        assert re.search(f"{title}, {best}", found)
        assert f"Word2Vec{suffix} by 10.00 points" in found
        assert ("recipe 2" in found) == (number == 2)
        assert f"## The role of the lambdas, recipe {number}\n" in text
    assert "| `head` | attention | pool |" in sections(text, "Hyperparameters of both tasks")
    assert "Runs on `toy_file` (fingerprint `cccc3333`) are of the same rows" in text


def test_rows_are_the_same_only_with_the_same_vocabulary(tmp_path: Path) -> None:
    write_both(tmp_path, vocabulary="other")
    with pytest.raises(Exception, match="runs on different data do not compare"):
        collect([tmp_path])


def test_a_corpus_can_still_be_chosen(tmp_path: Path) -> None:
    write_both(tmp_path)
    assert len(collect([tmp_path], "toy_file").classifiers) == 3


def test_what_is_kept_has_the_name_that_each_run_knew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_both(tmp_path / "runs")
    keep_material(collect([tmp_path / "runs"]), tmp_path / "kept")
    records = [json.loads(f.read_text()) for f in (tmp_path / "kept").rglob("metrics.json")]
    names = [(r["data"]["name"], r["choices"]["data"]) for r in records]
    assert names.count(("toy_file", "toy_file")) == 3
    text = undrawn(tmp_path / "runs", monkeypatch)
    assert undrawn(tmp_path / "kept", monkeypatch) == text


def test_static_vectors_may_have_a_head_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_both(tmp_path)
    wide = {"encoder": "word2vec", "mixer": "trainable", "head": "bilstm"}
    write_classifier(tmp_path / "wide", 0.85, 0, wide)
    text = undrawn(tmp_path, monkeypatch)
    for number in (1, 2):
        found = sections(text, f"ELMo against Word2Vec, SVD and TF-IDF, recipe {number}")
        assert "Word2Vec, head=bilstm" in found
    assert "Word2Vec, head=bilstm, compared with others" not in text
    assert "Word2Vec, head=bilstm by 5.00 points" in text.partition("\n## ")[0]


def test_what_is_fine_tuned_on_several_bilms_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_both(tmp_path)
    tuned = {"encoder": "elmo", "mixer": "learned", "head": "attention"}
    for bilm in ("cd", "ef"):
        folder = tmp_path / bilm
        write_classifier(folder, 0.95, 0, tuned, bilm=bilm, finetune=True)
    titles = [c.title for c in collect([tmp_path]).classifiers if c.is_finetuned]
    assert titles == [f"ELMo, learned, fine-tuned, biLM {number}" for number in (2, 3)]
