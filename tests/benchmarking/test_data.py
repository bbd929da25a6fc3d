"""The benchmarks of preparing a corpus and of reading a stream, at a tiny size."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import data, streaming
from conftest import ROOT
from data.test_ag_news import csv_of
from data.test_corpus import news
from elmo.data.corpora.ag_news import read_ag_news_csv


@pytest.fixture(autouse=True)
def toy_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AG_NEWS_DIR", raising=False)


def in_this_process(function: Any, *args: Any) -> Any:
    """Call a function as `in_new_process` does, but in this process."""
    try:
        return function(*args)
    finally:
        logging.disable(logging.NOTSET)


def check(file: Path, sizes: list[int]) -> None:
    report = json.loads(file.read_text())
    cases = [(size, start) for size in sizes for start in ("cold", "warm")]
    costs, ratios, parts = report["tables"].values()
    for table in (costs, parts):
        assert [(row["documents"], row["start"]) for row in table] == cases
        assert all(cell > 0 for row in table for cell in row.values() if cell != row["start"])
    assert report["data"] == "toy"
    assert {row["V"] for row in parts[:2]} == {parts[0]["V"]}
    for row, small, large in zip(ratios, costs, costs[2:], strict=False):
        for name in ("data work (s)", "CPU (s)", "peak (MiB)", "process (s)"):
            assert row[name] == pytest.approx(large[name] / small[name])
    for row, part in zip(costs, parts, strict=True):
        assert row["data work (s)"] == pytest.approx(sum(part[name] for name in data.PARTS))
        assert row["data work (s)"] < row["process (s)"]


def test_each_size_is_prepared_cold_and_warm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "in_new_process", in_this_process)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data.main(["--documents", "300", "600", "-o", str(tmp_path / "data.json")])
    check(tmp_path / "data.json", [300, 600])
    assert "600 / 300" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]


def test_a_stream_of_any_size_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "in_new_process", in_this_process)
    file = tmp_path / "streaming.json"
    streaming.main(["--documents", "300", "12000", "--sample", "200", "-o", str(file)])
    small, large = json.loads(file.read_text())["tables"]["reading a stream"]
    assert small["V"] == large["V"]  # the sample is the same
    assert small["read"] >= 300
    assert 12_000 <= large["read"] < 12_300
    assert small["peak (MiB)"] > 0


@pytest.mark.slow
def test_each_case_runs_in_its_own_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.data", "--documents", "300", "600"]
    subprocess.run([*command, "-o", tmp_path / "data.json"], cwd=ROOT, check=True, timeout=300)
    check(tmp_path / "data.json", [300, 600])


def test_after_the_last_row_documents_are_halves_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "train.csv").write_bytes(csv_of(news(20, "one two")))
    (real / "test.csv").write_bytes(csv_of(news(5, "test")))
    monkeypatch.setenv("AG_NEWS_DIR", str(real))
    files = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        data.write_source(str(tmp_path / name), 60)
        files.append(tmp_path / name / "train.csv")
        assert (tmp_path / name / "test.csv").read_bytes() == (real / "test.csv").read_bytes()
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = [(row.text, row.label) for row in read_ag_news_csv(files[0])]
    assert rows[:20] == news(20, "one two")
    assert len(rows) == 60
    assert {text for text, _ in rows[20:]} <= {text for text, _ in news(20, "one two")}


@pytest.mark.parametrize("size", ["0", "99", "many"])
def test_an_impossible_size_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        data.main(["--documents", "300", size])
    assert "--documents" in capsys.readouterr().err
