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


WORDS = (("bank", "rates", "shares"), ("match", "goal", "cup"), ("chip", "phone", "web"))


def test_labels_that_were_changed_are_among_the_suspects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No text occurs twice, which ends the command only where nothing else is asked for."""
    wrong = {7, 40, 82}
    train = [
        (f"{' '.join(WORDS[n % 3])} story{n}", (n + 1) % 3 if n in wrong else n % 3)
        for n in range(120)
    ]
    corpus = Listed(train, [("another", 1)], tmp_path)
    monkeypatch.setattr(training_corpus, "training_corpus", lambda *_: corpus)
    suspects, figures = tmp_path / "suspects.csv", tmp_path / "noise.json"
    files = ["--suspects", str(suspects), "-o", str(figures)]
    noise.main(["run", "--cross-validate", "4", *files])
    in_train = set(corpus.splits["train"]["row"])
    named = {int(line.split(",")[1]) for line in suspects.read_text().splitlines()[1:]}
    assert named == wrong & in_train
    found = json.loads(figures.read_text())["cross_validation"]
    assert found["suspected"] == len(named) == sum(pair["rows"] for pair in found["pairs"])
    assert found["share"] == pytest.approx(len(named) / len(in_train))
    printed = capsys.readouterr().out
    assert f"{len(named)} suspected labels" in printed
    assert f"{found['accuracy']:.1%}" in printed


def test_suspects_need_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(lambda: noise.main(["--suspects", "file.csv"]), capsys)
    assert "add --cross-validate 5" in line


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
