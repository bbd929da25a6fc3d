"""Slurm as submitit knows it, on one machine: its commands in a folder for PATH."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

JOB = "20001"


def install(folder: Path) -> None:
    folder.mkdir()
    for command in COMMANDS:
        file = folder / command
        file.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {command} {folder} "$@"\n')
        file.chmod(0o755)


def sbatch(folder: Path, script: str) -> None:
    """Keeps the batch script, and starts each task of the array, without waiting for it."""
    text = Path(script).read_text()
    (folder / "batch.sh").write_text(text)
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.MULTILINE))
    array = re.match(r"0-(\d+)%", options.get("array", ""))
    nodes, on_each = options["nodes"], options["ntasks-per-node"]
    environment = {
        "SLURM_JOB_NUM_NODES": nodes,
        "SLURM_NNODES": nodes,
        "SLURM_NTASKS": str(int(nodes) * int(on_each)),
        "SLURM_NTASKS_PER_NODE": on_each,
        "SLURM_CPUS_PER_TASK": options["cpus-per-task"],
        "SLURM_JOB_NAME": options["job-name"],
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NODELIST": "127.0.0.1",
    }
    for number in range(int(array[1]) + 1 if array else 1):
        task = {"SLURM_JOB_ID": str(int(JOB) + number)}
        if array:
            task |= {"SLURM_ARRAY_JOB_ID": JOB, "SLURM_ARRAY_TASK_ID": str(number)}
        subprocess.Popen(
            ["bash", script],
            env={**os.environ, **environment, **task},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    print(f"Submitted batch job {JOB}")


def srun(folder: Path, *arguments: str) -> None:
    """Runs the command as often as the job has tasks, each with its rank."""
    command = arguments[arguments.index(sys.executable) :]
    job = os.environ["SLURM_JOB_ID"]
    tasks = []
    for rank in map(str, range(int(os.environ["SLURM_NTASKS"]))):
        ranked = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODEID": "0"}
        with (folder / f"{job}_{rank}.log").open("w") as log:
            task = subprocess.Popen(command, env={**os.environ, **ranked}, stdout=log, stderr=log)
        (folder / f"{job}_{rank}.pid").write_text(str(task.pid))
        tasks.append(task)
    sys.exit(max(task.wait() for task in tasks))


def scontrol(folder: Path, action: str, job: str) -> None:
    """Starts the job that asks for it once more."""
    assert action == "requeue"
    with (folder / "requeued").open("a") as log:
        log.write(f"{job}\n")
    subprocess.Popen(["bash", folder / "batch.sh"])


def sacct(folder: Path, *arguments: str) -> None:
    print("JobID|State|NodeList")


COMMANDS: dict[str, Callable[..., None]] = {
    "sbatch": sbatch,
    "srun": srun,
    "scontrol": scontrol,
    "sacct": sacct,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
