"""Many jobs in one command, and several commands on one machine."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from conftest import TINY_CLS
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.utils.cores import usable_cores
from faults.runner import start

JOBS = 200


class Sample(NamedTuple):
    """Of a process: jobs that it has finished, its memory, open files and threads."""

    jobs: int
    mebibytes: float
    files: int
    threads: int


def sample(pid: int, jobs: int) -> Sample:
    process = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    memory = int(status["VmRSS"].split()[0]) / 1024
    return Sample(jobs, memory, len(os.listdir(process / "fd")), int(status["Threads"]))


def seconds_of_each(sweep_dir: Path) -> list[float]:
    """From one finished record to the next: all that a job costs."""
    ends = sorted(file.stat().st_mtime for file in sweep_dir.glob("*/metrics.json"))
    return [later - earlier for earlier, later in pairwise(ends)]


@pytest.mark.slow
def test_two_hundred_jobs(pretrained: Path, cache_dir: Path, tmp_path: Path) -> None:
    """The second hundred takes the time, memory and open files of the first."""
    log, sweep_dir = tmp_path / "log.txt", tmp_path / "sweep"
    bilm_path = latest_run(pretrained, "toy") / "bilstm.pt"
    settings = (*TINY_CLS, f"bilm_path={bilm_path}", "trainer.limit_train_batches=5")
    places = (f"output_dir={tmp_path}", f"cache_dir={cache_dir}", f"hydra.sweep.dir={sweep_dir}")
    process = start("train_cls", *settings, *places, f"seed=range({JOBS})", "-m", output=log)
    samples: list[Sample] = []
    while process.exitcode is None:
        done = len(list(sweep_dir.glob("*/metrics.json")))
        if process.pid is not None and (not samples or samples[-1].jobs < done < JOBS):
            samples.append(sample(process.pid, done))
        process.join(timeout=0.2)
    assert process.exitcode == 0, log.read_text()
    with (sweep_dir / "sweep.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["status"] for row in rows] == ["ok"] * JOBS
    assert len({(row["seed"]) for row in rows}) == JOBS

    def halves(figure: Callable[[Sample], float]) -> tuple[float, float]:
        """What is typical of jobs 20 to 100, and of the last 80; the first ones fill caches."""
        first = [figure(one) for one in samples if 20 <= one.jobs < 100]
        return median(first), median(figure(one) for one in samples if one.jobs >= 120)

    for name, figure, slack in (
        ("memory", lambda one: one.mebibytes, 20.0),
        # One that each job leaves open would be a hundred more; at which moment of a job a sample
        # is taken makes a few.
        ("open files", lambda one: one.files, 5.0),
        ("threads", lambda one: one.threads, 2.0),
    ):
        before, after = halves(figure)
        print(f"{name}: {before:.0f} in the first hundred jobs, {after:.0f} in the second")
        assert after <= before + slack, name
    seconds = seconds_of_each(sweep_dir)
    before, after = median(seconds[20:100]), median(seconds[-80:])
    print(f"seconds of a job: {before:.2f}, {after:.2f}")
    assert after < 2 * before  # on a machine that others use


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_two_sweeps_at_once(threads: int, pretrained: Path, tmp_path: Path) -> None:
    """They compute the frozen layers once, and give the figures of one alone."""
    log = tmp_path / "log.txt"
    bilm_path = latest_run(pretrained, "toy") / "bilstm.pt"
    settings = (*TINY_CLS, f"bilm_path={bilm_path}", f"threads={threads}", "seed=0,1,2", "-m")
    sweeps = {name: tmp_path / name for name in ("alone", "one", "other")}

    def begin(name: str, cache: str) -> BaseProcess:
        places = (f"output_dir={tmp_path}", f"cache_dir={tmp_path}/{cache}")
        return start("train_cls", *places, f"hydra.sweep.dir={sweeps[name]}", *settings, output=log)

    for group in (["alone"], ["one", "other"]):
        processes = [begin(name, f"cache-{group[0]}") for name in group]
        while any(process.exitcode is None for process in processes):
            time.sleep(0.1)
        assert [process.exitcode for process in processes] == [0] * len(group), log.read_text()
    assert log.read_text().count("computing the frozen layers of train once") == 2
    figures = {
        name: [read_record(file.parent)["metrics"] for file in sorted(folder.glob("*/run.json"))]
        for name, folder in sweeps.items()
    }
    assert len(figures["alone"]) == 3
    assert figures["one"] == figures["other"] == figures["alone"]
    waited = "waiting for cores that other runs hold" in log.read_text()
    cores = len(usable_cores())
    assert waited == (2 * threads > cores)
