"""`elmo noise`: what it prints, and the file that a report reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elmo.commands.noise import main
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record


def test_the_file_has_the_printed_figures(
    pretrained: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = latest_run(pretrained, "toy")
    file = tmp_path / "noise.json"
    options = ["--cosine", "0.5", "--cache-dir", str(cache_dir), "-o", str(file)]
    main([str(run), *options])
    content = json.loads(file.read_text())
    assert content["fingerprint"] == read_record(run)["data"]["fingerprint"]
    printed = capsys.readouterr().out
    assert content["sources"]
    for source in content["sources"]:
        assert source["error"] == pytest.approx(1 - source["ceiling"])
        assert source["low"] <= source["ceiling"] <= source["high"]
        assert f"{source['ceiling']:.1%}" in printed
