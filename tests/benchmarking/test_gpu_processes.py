"""A part of the GPU benchmark keeps its rows, whatever becomes of its process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.gpu_parts import Named, Options

OPTIONS = Options("a device", (), (), seconds=0.0, texts=0, largest=0)


def good(options: Options) -> Iterator[Named]:
    print("this is no row")
    yield "table", {"device": options.device}


def failing(options: Options) -> Iterator[Named]:
    yield "table", {"row": 1}
    raise ValueError("no more")


def dying(options: Options) -> Iterator[Named]:
    yield "table", {"row": 1}
    os._exit(3)


def hanging(options: Options) -> Iterator[Named]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield "table", {"child": child.pid, "folder": tempfile.mkdtemp()}
    time.sleep(600)


def rows_and_outcome(name: str, seconds: float = 60.0) -> tuple[list[Any], str]:
    rows: list[Any] = []
    try:
        for title, row in gpu.rows_of(f"{__name__}:{name}", OPTIONS, seconds):
            assert title == "table"
            rows.append(row)
    except gpu.PartError as error:
        return rows, str(error)
    return rows, "done"


def test_rows_come_from_the_process_of_a_part(capfd: pytest.CaptureFixture[str]) -> None:
    assert rows_and_outcome("good") == ([{"device": "a device"}], "done")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("failing", "failed: ValueError: no more"),
        ("dying", "failed: the process ended with 3"),
        ("missing", "failed: AttributeError"),
    ],
)
def test_a_part_that_fails_keeps_its_rows(name: str, outcome: str) -> None:
    rows, found = rows_and_outcome(name)
    assert found.startswith(outcome)
    assert rows == ([] if name == "missing" else [{"row": 1}])


def test_a_part_without_time_left_is_stopped() -> None:
    assert rows_and_outcome("good", seconds=0) == ([], "stopped: the budget was used up")


def test_a_part_is_ended_with_all_that_it_started() -> None:
    rows = gpu.rows_of(f"{__name__}:hanging", OPTIONS, seconds=120)
    _, row = next(rows)
    rows.close()
    assert not Path(row["folder"]).exists()
    stat = Path(f"/proc/{row['child']}/stat")
    for _ in range(100):  # until its end is known
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("a process that the part had started still runs")
