from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elmo.runs.folder import Run
from elmo.runs.precision import KEY, as_asked, precision_of_sweep, used_precision
from elmo.runs.record import read_record

DATA = {"name": "toy", "vocabulary_size": 5, "unknown_rate": {}}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a pretended machine computes natively."""
    found = {"native": "bf16-mixed"}
    monkeypatch.setattr("elmo.runs.folder.native_precision", lambda _: found["native"])
    return found


def a_run(run_dir: Path, asked: str = "auto", sweep_precision: str | None = None) -> Run:
    run_dir.mkdir(exist_ok=True)
    flat = {"threads": None, KEY: asked}
    start = {"script": "train_lm", "overrides": [], "settings": flat, "choices": {}}
    nested = {"threads": None, "trainer": {"precision": asked, "accelerator": "auto"}}
    return Run(
        run_dir, "bilstm.pt", start, nested, may_continue=True, sweep_precision=sweep_precision
    )


def older(run_dir: Path, precision: str, *overrides: str) -> dict[str, Any]:
    """The `run.json` of a run that was started when `auto` did not exist."""
    settings = {"threads": None, KEY: precision}
    start = {"script": "train_lm", "overrides": overrides, "settings": settings, "choices": {}}
    run_dir.mkdir(parents=True)
    (run_dir / "run.json").write_text(json.dumps({**start, "threads": 1}))
    return {**start, "threads": 1}


def test_both_records_tell_what_was_asked_and_what_it_became(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    with a_run(tmp_path / "run") as run:
        assert run.precision == "bf16-mixed"
        run.finish(metrics={}, data=DATA)
    started = json.loads((tmp_path / "run/run.json").read_text())
    assert started["settings"][KEY] == "auto"
    record = read_record(tmp_path / "run")
    for content in (started, record):
        assert content["precision"] == {"asked": "auto", "used": "bf16-mixed"}
    # Commands compare and group by these: with one who asked for bf16-mixed by name.
    assert record["settings"]["trainer"]["precision"] == "bf16-mixed"


@pytest.mark.parametrize(
    ("here", "elsewhere"), [("32-true", "bf16-mixed"), ("bf16-mixed", "32-true")]
)
def test_a_run_keeps_its_precision_on_another_machine(
    here: str, elsewhere: str, tmp_path: Path, machine: dict[str, str], caplog: Any
) -> None:
    machine["native"] = here
    with a_run(tmp_path / "run"):
        pass
    before = (tmp_path / "run/run.json").read_bytes()
    machine["native"] = elsewhere
    with caplog.at_level("INFO"), a_run(tmp_path / "run") as run:
        assert run.precision == here
        run.finish(metrics={}, data=DATA)
    assert (tmp_path / "run/run.json").read_bytes() == before
    assert read_record(tmp_path / "run")["settings"]["trainer"]["precision"] == here
    assert f"alone, this machine would take {elsewhere}" in caplog.text


def test_a_named_precision_is_taken(tmp_path: Path, machine: dict[str, str]) -> None:
    with a_run(tmp_path / "run", "64-true", sweep_precision="32-true") as run:
        assert run.precision == "64-true"
    started = json.loads((tmp_path / "run/run.json").read_text())
    assert started["precision"] == {"asked": "64-true", "used": "64-true"}


def test_an_older_run_goes_on_in_what_was_the_default(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    older(tmp_path / "run", "32-true")
    with a_run(tmp_path / "run") as run:
        assert run.precision == "32-true"


def test_settings_of_an_older_record() -> None:
    record = {"settings": {KEY: "32-true", "seed": 0}}
    assert as_asked(record, "auto") == {KEY: "auto", "seed": 0}
    assert as_asked(record, "bf16-mixed") == record["settings"]
    assert used_precision(record) == "32-true"
    newer = {**record, "precision": {"asked": "32-true", "used": "32-true"}}
    assert as_asked(newer, "auto") == record["settings"]  # another setting now
    linear: dict[str, Any] = {"settings": {"seed": 0}}
    assert as_asked(linear, None) == as_asked(linear, "auto") == {"seed": 0}


def test_jobs_of_a_sweep_take_the_same(tmp_path: Path, machine: dict[str, str]) -> None:
    assert precision_of_sweep(tmp_path) is None
    older(tmp_path / "0", "64-true", f"{KEY}=64-true")  # typed: nothing to follow
    assert precision_of_sweep(tmp_path) is None
    with a_run(tmp_path / "1", "16-true"):
        pass
    assert precision_of_sweep(tmp_path) is None
    with a_run(tmp_path / "2"):
        pass
    machine["native"] = "32-true"
    assert precision_of_sweep(tmp_path) == "bf16-mixed"
    with a_run(tmp_path / "3", sweep_precision="bf16-mixed") as run:
        assert run.precision == "bf16-mixed"


def test_an_older_sweep_goes_on_as_it_began(tmp_path: Path) -> None:
    older(tmp_path / "0", "32-true")
    assert precision_of_sweep(tmp_path) == "32-true"
