"""`elmo noise`: the table, and the file that a report reads, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import error_line
from elmo.commands import noise
from elmo.errors import DataError
from elmo.models import training_corpus
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from evaluation.test_label_noise import PLAIN, STORY, Listed


def test_the_ceiling_is_printed_with_its_assumptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = [(text, label) for text, label in PLAIN for _ in range(2)]
    train = [*twice, ("one more", 0), ("one more", 1), (STORY, 0), (STORY, 0), ("single", 0)]
    corpus = Listed(train, [(STORY.replace("tuesday", "monday"), 1)], tmp_path)
    monkeypatch.setattr(training_corpus, "training_corpus", lambda *_: corpus)
    noise.main(["run", "--cosine", "0.6"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "equal, in" in printed
    assert "│ 22 │ 1 │ 4.5% │ 2.3% │ 97.7% │" in printed
    assert "cosine" in printed
    assert "lower bound" in printed


def test_where_no_text_occurs_twice_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Listed(PLAIN, [("another", 1)], tmp_path)
    monkeypatch.setattr(training_corpus, "training_corpus", lambda *_: corpus)
    with pytest.raises(DataError, match="label noise is unknown"):
        noise.main(["run"])
    assert capsys.readouterr().err.count("left out:") == 2
    monkeypatch.undo()
    line = error_line(lambda: noise.main([str(tmp_path / "nowhere/metrics.json")]), capsys)
    assert "no such file" in line


def test_the_file_has_the_printed_figures(
    pretrained: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = latest_run(pretrained, "toy")
    file = tmp_path / "noise.json"
    options = ["--cosine", "0.5", "--cache-dir", str(cache_dir), "-o", str(file)]
    noise.main([str(run), *options])
    content = json.loads(file.read_text())
    assert content["fingerprint"] == read_record(run)["data"]["fingerprint"]
    printed = capsys.readouterr().out
    assert content["sources"]
    for source in content["sources"]:
        assert source["error"] == pytest.approx(1 - source["ceiling"])
        assert source["low"] <= source["ceiling"] <= source["high"]
        assert f"{source['ceiling']:.1%}" in printed
