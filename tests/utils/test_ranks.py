"""Several processes train as one does: the same batches, the same figures, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, TINY_CLS, TINY_LM, Script, scalars
from elmo.data.batches import EpochOrder, TokenBudgetBatches
from elmo.errors import ConfigError
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from jobs.test_characters import CHARACTERS_LM, WITHOUT_SAMPLES

# Without dropout, which each process draws for itself.
LM = (*TINY_LM, "bilm.dropout=0", "trainer.max_epochs=2", "trainer.log_every_n_steps=1")
DDP = ("trainer=ddp", "trainer.accelerator=cpu", "threads=1")


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("seed", [None, 0])
def test_every_rank_gets_its_rows_of_every_batch(ranks: int, seed: int | None) -> None:
    lengths = np.random.default_rng(0).integers(1, 90, 101)
    lengths[:5] = 400  # longer than the budget
    parts = [
        list(TokenBudgetBatches(EpochOrder(lengths, seed), 300, rank, ranks))
        for rank in range(ranks)
    ]
    assert len({len(part) for part in parts}) == 1
    together = [sorted(row for rows in batch for row in rows) for batch in zip(*parts, strict=True)]
    assert sorted(row for batch in together for row in batch) == list(range(101))
    assert all(rows for part in parts for rows in part)
    for rows in zip(*parts, strict=True):
        counts = [len(one) for one in rows]
        assert max(counts) - min(counts) <= 1


def test_ranks_together_have_the_batches_of_one_process() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 200)  # 5 rows or more in every batch
    one, two = ([*TokenBudgetBatches(EpochOrder(lengths, 0), 300, rank, 2)] for rank in range(2))
    alone = TokenBudgetBatches(EpochOrder(lengths, 0), 300)
    together = [sorted([*first, *second]) for first, second in zip(one, two, strict=True)]
    assert together == [sorted(batch) for batch in alone]


def test_fewer_rows_than_ranks_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 rows for 3 processes"):
        TokenBudgetBatches(EpochOrder(np.array([3, 4]), 0), 10, 0, 3)


def close(one: Path, other: Path, tolerance: float = 1e-4) -> None:
    """The same curves, step by step, and the same figures."""
    curves, others = scalars(one), scalars(other)
    for tag in ("train/batch_loss", "grad_norm/total", "train/loss", "val/loss"):
        assert len(curves[tag]) > 1
        assert others[tag] == pytest.approx(curves[tag], rel=tolerance), tag
    figures = read_record(one)["metrics"]
    assert read_record(other)["metrics"] == pytest.approx(figures, rel=tolerance)


@pytest.fixture(scope="module")
def alone(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    script("train_lm", *LM, output_dir=folder)
    return latest_run(folder, "toy")


@pytest.mark.slow
def test_two_processes_pretrain_as_one(script: Script, alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    printed = script("train_lm", *LM, *DDP, f"hydra.run.dir={run}", output_dir=tmp_path, apart=True)
    assert printed.stdout.count("epoch 1/2: train loss") == 1  # the first process speaks
    assert printed.stdout.count("epoch 2/2: train loss") == 1
    close(alone, run)
    assert (latest_run(tmp_path, "toy")).resolve() == run.resolve()


@pytest.mark.slow
def test_four_processes_pretrain_as_one(script: Script, alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    four = ("trainer.devices=4", f"hydra.run.dir={run}")
    script("train_lm", *LM, *DDP, *four, output_dir=tmp_path, apart=True)
    close(alone, run)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["elmo", "word2vec"])
def test_two_processes_classify_as_one(
    script: Script, pretrained: Path, tmp_path: Path, encoder: str
) -> None:
    bilm = f"bilm_path={latest_run(pretrained, 'toy') / 'bilstm.pt'}"
    settings = [*TINY_CLS, bilm, f"encoder={encoder}", "head.dropout=0", "trainer.max_epochs=2"]
    settings.append("trainer.log_every_n_steps=1")
    for name, more in (("one", ()), ("two", DDP)):
        run = f"hydra.run.dir={tmp_path / name}"
        script("train_cls", *settings, *more, run, output_dir=tmp_path, apart=True)
    close(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_two_processes_pretrain_on_characters_as_one(script: Script, tmp_path: Path) -> None:
    """Each has its own distinct words, whose gradients add up."""
    settings = [*CHARACTERS_LM, "bilm.dropout=0", "trainer.max_epochs=2", WITHOUT_SAMPLES]
    settings.append("trainer.log_every_n_steps=1")
    for name, more in (("one", ()), ("two", DDP)):
        run = f"hydra.run.dir={tmp_path / name}"
        script("train_lm", *settings, *more, run, output_dir=tmp_path, apart=True)
    close(tmp_path / "one", tmp_path / "two")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_two_machines_by_torchrun(alone: Path, cache_dir: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes=2",
        "--nproc-per-node=1",
        "--master-addr=127.0.0.1",
    ]
    torchrun.append(f"--master-port={free_port()}")
    command = [str(ROOT / "train_lm.py"), *LM, *DDP, "trainer.devices=1", "trainer.num_nodes=2"]
    command += [f"hydra.run.dir={run}", f"output_dir={tmp_path}", f"cache_dir={cache_dir}"]
    agents = [subprocess.Popen([*torchrun, f"--node-rank={node}", *command]) for node in range(2)]
    assert [agent.wait(timeout=280) for agent in agents] == [0, 0]
    close(alone, run)


def test_torchrun_needs_one_folder_for_all(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", "0")
    result = script("train_lm", *LM, *DDP, output_dir=tmp_path, code=1)
    assert "name one for all with hydra.run.dir=FOLDER" in result.stderr


def test_a_sweep_does_not_start_processes_by_itself(
    script: Script, pretrained: Path, tmp_path: Path
) -> None:
    bilm = f"bilm_path={latest_run(pretrained, 'toy') / 'bilstm.pt'}"
    result = script("train_cls", *TINY_CLS, *DDP, bilm, "-m", output_dir=tmp_path, code=1)
    assert "trainer.devices is 2 in a multirun" in result.stdout + result.stderr
    assert "submitit" in result.stdout + result.stderr


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def child_of(process: subprocess.Popen) -> int:
    task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(task.read_text().split()[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for the child in /proc")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_rank_ends_the_job_and_it_goes_on(
    alone: Path, cache_dir: Path, tmp_path: Path, blow: signal.Signals
) -> None:
    run = tmp_path / "run"
    folders = [f"output_dir={tmp_path}", f"cache_dir={cache_dir}"]
    settings = [*LM, *DDP, f"hydra.run.dir={run}", "callbacks.last_checkpoint.minutes=0"]
    settings.append("+trainer.strategy.timeout.seconds=20")
    settings.append("trainer.strategy.timeout.minutes=0")
    command = [sys.executable, str(ROOT / "train_lm.py"), *folders, *settings]
    errors = tmp_path / "errors"
    with errors.open("w") as handle:
        process = subprocess.Popen(command, stderr=handle)
        wait_for((run / "checkpoints" / "last.ckpt").is_file, process)
        child = child_of(process)
        os.kill(child, blow)
        began = time.monotonic()
        assert process.wait(timeout=120) != 0
        assert time.monotonic() - began < 60
    if blow == signal.SIGSTOP:
        os.kill(child, signal.SIGKILL)
    assert "another process of this training has ended or does not answer" in errors.read_text()
    assert "Traceback" not in errors.read_text()
    assert not (run / "metrics.json").exists()
    again = [sys.executable, str(ROOT / "train_lm.py"), f"resume={run}"]
    assert subprocess.run(again, timeout=280, check=False).returncode == 0
    figures = read_record(alone)["metrics"]
    assert read_record(run)["metrics"] == pytest.approx(figures, rel=1e-4)
    losses, others = scalars(alone)["train/loss"], scalars(run)["train/loss"]
    assert others == pytest.approx(losses, rel=1e-4)  # sums of all ranks went on, too
    assert json.loads((run / "run.json").read_text())["script"] == "train_lm"
