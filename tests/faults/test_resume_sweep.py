"""A sweep that was interrupted, or has grown: what is finished is left alone."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest

from conftest import MIXERS, TINY_CLS, tree
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from faults.runner import AtStep, run


@pytest.fixture
def command(pretrained: Path, cache_dir: Path, tmp_path: Path) -> list[str]:
    """A sweep of two epochs a job, but for the mixers."""
    bilm_path = latest_run(pretrained, "toy") / "bilstm.pt"
    places = (f"bilm_path={bilm_path}", f"output_dir={tmp_path}/outputs", f"cache_dir={cache_dir}")
    tiny = [setting for setting in TINY_CLS if "max_epochs" not in setting]
    often = ("callbacks.last_checkpoint.minutes=0", "trainer.max_epochs=2")
    return [*tiny, *often, *places, "seed=3"]


def job(sweep_dir: Path, mixer: str) -> Path:
    """The folder of a job, which its long name does not tell."""
    (folder,) = (
        file.parent
        for file in sweep_dir.glob("*/run.json")
        if json.loads(file.read_text())["choices"]["mixer"] == mixer
    )
    return folder


def table(sweep_dir: Path) -> list[dict[str, str]]:
    with (sweep_dir / "sweep.csv").open() as handle:
        return [{**row, "seconds": ""} for row in csv.DictReader(handle)]


def test_a_killed_sweep_goes_on(command: list[str], tmp_path: Path) -> None:
    log, mixers = tmp_path / "log.txt", f"mixer={','.join(MIXERS)}"
    whole, sweep_dir = tmp_path / "whole", tmp_path / "sweep"
    assert run("train_cls", *command, mixers, f"hydra.sweep.dir={whole}", "-m", output=log) == 0
    again = (*command, mixers, f"hydra.sweep.dir={sweep_dir}", "-m")
    fault = AtStep(5, training=1)
    assert run("train_cls", *again, output=log, fault=fault) == -signal.SIGKILL
    finished, begun = job(sweep_dir, "trainable"), job(sweep_dir, "frozen")
    before = tree(finished)
    started = (begun / "run.json").stat().st_mtime_ns

    assert run("train_cls", *again, output=log) == 0, log.read_text()
    assert tree(finished) == before
    assert (begun / "run.json").stat().st_mtime_ns == started
    assert sorted(folder.name for folder in sweep_dir.iterdir() if folder.is_dir()) == [
        folder.name for folder in sorted(whole.iterdir()) if folder.is_dir()
    ]
    for mixer in MIXERS:
        one, other = (read_record(job(folder, mixer)) for folder in (whole, sweep_dir))
        assert one["metrics"] == other["metrics"]
    assert table(sweep_dir) == table(whole)

    jobs = {mixer: tree(job(sweep_dir, mixer)) for mixer in MIXERS}
    assert run("train_cls", *again, output=log) == 0
    assert {mixer: tree(job(sweep_dir, mixer)) for mixer in MIXERS} == jobs
    assert table(sweep_dir) == table(whole)


@pytest.mark.slow
def test_a_sweep_that_grows_runs_what_is_missing(command: list[str], tmp_path: Path) -> None:
    log, sweep_dir = tmp_path / "log.txt", tmp_path / "sweep"
    place = f"hydra.sweep.dir={sweep_dir}"
    assert run("train_cls", *command, "mixer=frozen,learned", place, "-m", output=log) == 0
    before = {mixer: tree(job(sweep_dir, mixer)) for mixer in ("frozen", "learned")}
    # In another order, so that numbers tell nothing.
    mixers = "mixer=learned,trainable,frozen"
    assert run("train_cls", *command, mixers, place, "-m", output=log) == 0, log.read_text()
    assert {mixer: tree(job(sweep_dir, mixer)) for mixer in ("frozen", "learned")} == before
    assert {row["mixer"]: row["status"] for row in table(sweep_dir)} == dict.fromkeys(MIXERS, "ok")


@pytest.mark.slow
def test_a_signal_ends_the_whole_sweep(command: list[str], tmp_path: Path) -> None:
    log, sweep_dir = tmp_path / "log.txt", tmp_path / "sweep"
    sweep = (*command, "mixer=frozen,learned", f"hydra.sweep.dir={sweep_dir}", "-m")
    assert run("train_cls", *sweep, output=log, fault=AtStep(5, signal.SIGINT)) == 130
    assert len(list(sweep_dir.glob("*/run.json"))) == 1
    assert "continue with: python train_cls.py hydra.sweep.dir=" in log.read_text()
    assert run("train_cls", *sweep, output=log) == 0, log.read_text()
    assert [row["status"] for row in table(sweep_dir)] == ["ok", "ok"]
