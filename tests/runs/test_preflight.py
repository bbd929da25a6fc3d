"""Folders that cannot be written to are found before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import TINY_LM, Script
from elmo.runs.preflight import check_folders


@pytest.mark.parametrize("key", ["output_dir", "cache_dir"])
def test_a_place_that_cannot_be_is_named_in_one_line(
    key: str, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    place = f"{key}={tmp_path}/file/below"
    result = script("train_lm", *TINY_LM, place, output_dir=tmp_path / "outputs", code=1)
    assert result.stderr.startswith(f"error: {tmp_path}/file/below")
    assert result.stderr.endswith(f"Not a directory; choose another {key}\n")
    assert result.stderr.count("\n") == 1


def test_a_place_that_can_be_is_left_empty(tmp_path: Path) -> None:
    check_folders(str(tmp_path / "a/b"), str(tmp_path / "cache"))
    assert list((tmp_path / "a/b").iterdir()) == []
