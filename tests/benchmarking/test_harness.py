"""Peers run one at a time; a report is printed and written; settings are those of the scripts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import harness


def counting(turn: harness.Turn, name: str, log: str) -> None:
    number = 0
    turn(None)
    while True:
        with Path(log).open("a") as file:
            file.write(name)
            time.sleep(0.02)  # long enough for another peer to write in between, if it could
            file.write(name)
        number += 1
        turn(number)


def failing(turn: harness.Turn) -> None:
    turn(None)
    raise ValueError("no more")


def test_peers_run_one_at_a_time_in_turn(tmp_path: Path) -> None:
    log = tmp_path / "log"
    peers = {name: (counting, (name, str(log))) for name in "ab"}
    results = harness.in_turn(peers, rounds=2)
    assert log.read_text() == "aabb" * 3
    assert results == {"a": [2, 3], "b": [2, 3]}  # the first round warms up


def test_a_peer_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="'broken' ended early"):
        harness.in_turn({"broken": (failing, ())}, rounds=1)


def test_report_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "speed.json"
    tables = {"speed": [{"peer": "one", "tokens/s": 12345.6}, {"peer": "two", "share": 0.123456}]}
    harness.report("speed", file, {"data": {"name": "toy"}}, tables)
    content = json.loads(file.read_text())
    assert content["tables"] == tables
    assert content["data"] == {"name": "toy"}
    assert content["machine"]["threads"] >= 1
    printed = capsys.readouterr().out
    assert "12,346" in printed
    assert "0.123" in printed
    assert "name toy" in printed


def test_matrix_multiply_rate_counts_a_multiplication_and_an_addition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))  # each product takes a second
    assert harness.matrix_multiply_rate(size=8, repeats=3) == 2 * 8**3


def test_the_limit_is_the_fastest_of_all_products(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([3.0, 5.0, 4.0, 2.0])
    asked = []

    def rate(size: int, **options: Any) -> float:
        asked.append((size, options["dtype"], options["product"].__name__))
        return next(rates)

    monkeypatch.setattr(harness, "matrix_multiply_rate", rate)
    assert harness.limit(dtype="a type") == 5.0
    assert asked == [
        (size, "a type", name) for size in harness.LARGE_ON_CPU for name in ("mm", "onednn")
    ]


def test_settings_are_those_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AG_NEWS_DIR", raising=False)
    cfg = harness.settings("train_lm", "bilm.hidden_dim=7")
    assert cfg.data._target_ == "elmo.data.corpora.toy.ToyNews"
    assert cfg.bilm.hidden_dim == 7
    monkeypatch.setenv("AG_NEWS_DIR", "somewhere")
    assert harness.settings("train_cls").data._target_ == "elmo.data.corpora.ag_news.AgNews"
    assert (
        harness.settings("train_cls", "data=toy").data._target_ == "elmo.data.corpora.toy.ToyNews"
    )
