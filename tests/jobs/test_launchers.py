"""Sweeps through the launchers of conf/hydra/launcher find what one job after another finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fake_slurm
from conftest import MIXERS, ROOT, TINY_CLS, job
from elmo.runs import preflight
from elmo.runs.job import threads_of_a_job
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record

LAUNCHERS = sorted(file.stem for file in (ROOT / "conf/hydra/launcher").glob("*.yaml"))


@pytest.mark.parametrize(
    ("launcher", "threads"),
    [
        ({}, None),
        ({"n_jobs": -1}, 1),
        ({"n_jobs": -2}, 1),
        ({"n_jobs": 2}, 4),
        ({"n_jobs": 3}, 2),
        ({"n_jobs": 20}, 1),
        ({"cpus_per_task": 3}, 3),
        ({"cpus_per_task": None}, None),
        ({"ray": {"remote": {"num_cpus": 2}}}, 2),
    ],
)
def test_jobs_share_the_cores(
    launcher: dict, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elmo.runs.job.usable_cores", lambda: list(range(8)))
    assert threads_of_a_job(OmegaConf.create(launcher)) == threads


def launcher_of(target: str, **settings: int) -> DictConfig:
    return OmegaConf.create({"_target_": target, **settings})


def test_a_launcher_that_is_not_installed() -> None:
    with pytest.raises(SystemExit, match=r"pip install -r requirements-cluster\.txt"):
        preflight.check_launcher(launcher_of("hydra_plugins.hydra_no_launcher.launcher.Launcher"))


def test_slurm_is_somewhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"no srun; .* hydra/launcher=submitit_local"):
        preflight.check_launcher(launcher_of("elmo.runs.preflight.SlurmLauncher"))


def test_no_job_at_a_time() -> None:
    with pytest.raises(SystemExit, match=r"n_jobs is 0; expected how many"):
        preflight.check_launcher(launcher_of("elmo.runs.preflight.Launcher", n_jobs=0))


def test_pins_are_those_of_the_constraints() -> None:
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (ROOT / "requirements-cluster.txt").read_text().splitlines()
    for pin in filter(re.compile(r"\w").match, pins):
        assert pin.replace("[default]", "") in constraints


Command = list[str]


@pytest.fixture
def command(pretrained: Path, cache_dir: Path, tmp_path: Path) -> Command:
    """The sweep of the fixture `sweep`, in a folder and with a cache of its own."""
    bilm = f"bilm_path={latest_run(pretrained, 'toy') / 'bilstm.pt'}"
    shutil.copytree(cache_dir, tmp_path / "cache", ignore=shutil.ignore_patterns("layers"))
    folders = [f"output_dir={tmp_path}", f"cache_dir={tmp_path / 'cache'}"]
    folders.append(f"hydra.sweep.dir={tmp_path / 'sweep'}")
    return [sys.executable, str(ROOT / "train_cls.py"), *TINY_CLS, bilm, "seed=3", *folders]


def swept(command: Command, launcher: str, *overrides: str) -> str:
    """What the three-mixer sweep says, where nothing but the launcher tells jobs their threads."""
    pytest.importorskip("hydra_plugins", reason="pip install -r requirements-cluster.txt")
    whole = [*command, f"mixer={','.join(MIXERS)}", f"hydra/launcher={launcher}", *overrides, "-m"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run(
        whole, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "validated against ConfigStore" not in result.stderr
    return result.stdout


def same_figures(one: Path, other: Path) -> None:
    for mixer in MIXERS:
        record, expected = (read_record(job(folder, mixer)) for folder in (one, other))
        assert record["metrics"] == expected["metrics"]
        assert record["lambdas"] == expected["lambdas"]
        assert record["threads"] == 1
    rows, others = ((folder / "sweep.csv").read_text().splitlines() for folder in (one, other))
    without_seconds = re.compile(r",\d+,ok$")
    assert len(rows) == len(MIXERS) + 1
    assert [without_seconds.sub("", row) for row in rows] == [
        without_seconds.sub("", row) for row in others
    ]


def finds_the_same(command: Command, launcher: str, folder: Path, expected: Path) -> None:
    said = swept(command, launcher)
    same_figures(folder, expected)
    said += "".join(file.read_text() for file in folder.glob(".submitit/*/*.out"))
    assert said.count("computing the frozen layers of train once") == 1


@pytest.mark.slow
def test_a_sweep_finds_the_same(command: Command, sweep: tuple[Path, str], tmp_path: Path) -> None:
    finds_the_same(command, "joblib", tmp_path / "sweep", sweep[0])


@pytest.mark.slow  # the basic launcher resumes in faults/test_resume_sweep.py
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_a_sweep_finds_the_same_and_resumes(
    command: Command, sweep: tuple[Path, str], tmp_path: Path, launcher: str
) -> None:
    folder = tmp_path / "sweep"
    finds_the_same(command, launcher, folder, sweep[0])

    (job(folder, "frozen") / "metrics.json").unlink()  # as if it had been killed
    finished = {mixer: (job(folder, mixer) / "metrics.json") for mixer in ("trainable", "learned")}
    before = {mixer: file.stat().st_mtime_ns for mixer, file in finished.items()}
    swept(command, launcher)
    same_figures(folder, sweep[0])
    assert {mixer: file.stat().st_mtime_ns for mixer, file in finished.items()} == before


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "slurm"
    fake_slurm.install(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.mark.slow
def test_slurm_gets_one_array(
    command: Command, sweep: tuple[Path, str], slurm: Path, tmp_path: Path
) -> None:
    launcher = ["partition=long", "cpus_per_task=1", "mem_gb=3", "setup=[echo ready]"]
    swept(command, "submitit_slurm", *(f"hydra.launcher.{setting}" for setting in launcher))
    same_figures(tmp_path / "sweep", sweep[0])
    script = (slurm / "batch.sh").read_text()
    assert script.startswith("#!/bin/bash\n")
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", script, re.MULTILINE))
    logs = tmp_path / "sweep/.submitit/%A_%a/%A_%a_0_log.out"
    assert options == {
        "array": "0-2%3",
        "cpus-per-task": "1",
        "job-name": "train_cls",
        "mem": "3GB",
        "nodes": "1",
        "ntasks-per-node": "1",
        "open-mode": "append",
        "output": str(logs),
        "partition": "long",
        "signal": "USR2@120",
        "time": "720",
        "wckey": "submitit",
    }
    *_, setup, _, _, export, srun, end = script.split("\n")
    assert setup == "echo ready"
    assert export == "export SUBMITIT_EXECUTOR=slurm"
    assert srun.startswith("srun --unbuffered --output ")
    assert f"{sys.executable} -u -m submitit.core._submit " in srun
    assert end == ""


@pytest.mark.slow
def test_slurm_starts_the_processes_of_a_job(command: Command, slurm: Path, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins", reason="pip install -r requirements-cluster.txt")
    settings = ["head.dropout=0", "mixer=learned"]
    alone = [*command, *settings, f"hydra.run.dir={tmp_path / 'alone'}"]
    subprocess.run(alone, check=True, timeout=280)
    two = ["trainer=ddp", "hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2"]
    two.append("hydra.launcher.cpus_per_task=1")
    subprocess.run([*command, *settings, *two, "-m"], check=True, timeout=280)
    record = read_record(job(tmp_path / "sweep", "learned"))
    assert record["metrics"] == pytest.approx(
        json.loads((tmp_path / "alone/metrics.json").read_text())["metrics"], rel=1e-4
    )


@pytest.mark.slow
def test_a_job_out_of_time_is_queued_again_and_goes_on(
    command: Command, slurm: Path, tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins", reason="pip install -r requirements-cluster.txt")
    settings = ["mixer=learned", "trainer.max_epochs=20", "callbacks.last_checkpoint.minutes=0"]
    alone = [*command, *settings, f"hydra.run.dir={tmp_path / 'alone'}"]
    subprocess.run(alone, check=True, timeout=280)
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1"]
    sweep = subprocess.Popen([*command, *settings, *launcher, "hydra.launcher.timeout_min=5", "-m"])
    deadline = time.monotonic() + 200
    while not list((tmp_path / "sweep").glob("*/checkpoints/best.ckpt")):  # after an epoch
        assert sweep.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (pid,) = slurm.glob("*.pid")
    os.kill(int(pid.read_text()), signal.SIGUSR2)  # what Slurm sends before the time is over
    assert sweep.wait(timeout=280) == 0
    assert (slurm / "requeued").read_text() == f"{fake_slurm.JOB}\n"
    folder = job(tmp_path / "sweep", "learned")
    assert read_record(folder)["metrics"] == read_record(tmp_path / "alone")["metrics"]
    first, second = sorted(folder.glob("events.*.0"))
    assert steps(first)[0] < steps(first)[-1] < steps(second)[0] + 3  # which logs every third


def steps(events_file: Path) -> list[int]:
    events = EventAccumulator(str(events_file))
    events.Reload()
    return [event.step for event in events.Scalars("train/batch_loss")]
