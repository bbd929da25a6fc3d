"""No core computes for two trainings at once."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from elmo.utils.cores import hold_cores, usable_cores


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elmo.utils.cores.usable_cores", lambda: [0, 1])
    monkeypatch.setattr("elmo.utils.cores.PAUSE", 0.01)


@pytest.mark.parametrize(("threads", "at_once"), [(1, 2), (2, 1), (8, 1)])
def test_as_many_trainings_at_once_as_there_are_cores_for(
    threads: int, at_once: int, tmp_path: Path
) -> None:
    going_on, most = 0, 0
    change = threading.Lock()

    def train() -> None:
        nonlocal going_on, most
        with hold_cores(tmp_path, threads):
            with change:
                going_on += 1
                most = max(most, going_on)
            time.sleep(0.1)
            with change:
                going_on -= 1

    trainings = [threading.Thread(target=train) for _ in range(4)]
    for training in trainings:
        training.start()
    for training in trainings:
        training.join(timeout=60)
    assert going_on == 0
    assert most == at_once


def test_a_gpu_needs_no_core(tmp_path: Path) -> None:
    with hold_cores(tmp_path, 2), hold_cores(tmp_path, 0):
        pass


def test_who_waits_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def train() -> None:
        with hold_cores(tmp_path, 1):
            pass

    waiting = threading.Thread(target=train)
    with hold_cores(tmp_path, 2):
        waiting.start()
        time.sleep(0.2)
    waiting.join(timeout=60)
    assert caplog.text.count("waiting for cores that other runs hold, 1 are needed") == 1


def hold_forever(folder: Path, ready: object) -> None:
    with hold_cores(folder, len(usable_cores())):
        ready.set()  # type: ignore[attr-defined]
        time.sleep(600)


def test_a_killed_training_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elmo.utils.cores.usable_cores", usable_cores)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=hold_forever, args=(tmp_path, ready))
    other.start()
    assert ready.wait(timeout=60)
    other.kill()
    other.join()
    with hold_cores(tmp_path, 1):
        pass
