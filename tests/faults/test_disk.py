"""A disk that is full, or read-only: one clear message, and what was whole before stays whole."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import MIXERS, TINY_CLS, TINY_LM, tree
from elmo.models.artifacts import load_artifact
from elmo.runs.latest import latest_run
from elmo.runs.preflight import ROOM
from elmo.runs.record import read_record
from elmo.training.checkpoints import read_checkpoint
from elmo.utils.cache import is_intact
from faults.runner import run

slow = pytest.mark.slow
OFTEN = ("callbacks.last_checkpoint.minutes=0", "trainer.max_epochs=2")
LM = (*(item for item in TINY_LM if "max_epochs" not in item), *OFTEN)
CLS = (*(item for item in TINY_CLS if "max_epochs" not in item), *OFTEN)


def used(folder: Path) -> int:
    """Bytes of the blocks that the files take."""
    return sum(512 * file.lstat().st_blocks for file in folder.rglob("*"))


def loads(folder: Path) -> None:
    """What bears the name of a whole file is one."""
    for file in folder.rglob("*.pt"):
        load_artifact(file, "bilm", "classifier")
    for file in folder.rglob("*.ckpt"):
        read_checkpoint(file)
    for file in folder.rglob("metrics.json"):
        read_record(file.parent)


class SmallDisk:
    """A file system in memory, filled but for some bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "ballast"

    def leave(self, room: int) -> None:
        self.ballast.unlink(missing_ok=True)
        self.ballast.touch()
        with self.ballast.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, shutil.disk_usage(self.folder).free - room)

    def empty(self) -> None:
        self.ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", folder], check=True)
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


SHARES = [0.0, 0.02, 0.1, *(n / 10 for n in range(2, 10)), 0.95]  # of the room that is needed


@slow
@pytest.mark.parametrize("job", ["train_lm", "train_cls"])
def test_a_full_output_disk(job: str, pretrained: Path, cache_dir: Path, disk: SmallDisk) -> None:
    log, outputs = disk.folder.parent / "log.txt", disk.folder / "outputs"
    bilm_path = latest_run(pretrained, "toy") / "bilstm.pt"
    settings = {"train_lm": LM, "train_cls": (*CLS, f"bilm_path={bilm_path}")}[job]
    artifact = {"train_lm": "bilstm.pt", "train_cls": "classifier.pt"}[job]
    places = (f"output_dir={outputs}", f"cache_dir={cache_dir}")
    whole = outputs / "whole"
    assert run(job, *settings, *places, f"hydra.run.dir={whole}", output=log) == 0
    before, needed = tree(whole), used(whole)
    run_dir = outputs / "run"
    for share in SHARES:
        disk.leave(int(share * needed))
        start = len(log.read_text())
        code = run(job, *settings, *places, f"hydra.run.dir={run_dir}", output=log)
        said = log.read_text()[start:]
        assert code == 1, (share, said)
        assert "No space left on device" in said, (share, said)
        assert "Traceback" not in said, (share, said)
        assert tree(whole) == before
        loads(outputs)
        disk.empty()
        go_on = (run_dir / "run.json").exists()
        again = (
            (f"resume={run_dir}",) if go_on else (*settings, *places, f"hydra.run.dir={run_dir}")
        )
        assert run(job, *again, output=log) == 0, log.read_text()
        assert read_record(run_dir)["metrics"] == read_record(whole)["metrics"], share
        assert (run_dir / artifact).read_bytes() == (whole / artifact).read_bytes(), share
        shutil.rmtree(run_dir)


@slow
def test_a_sweep_on_a_full_disk(pretrained: Path, cache_dir: Path, disk: SmallDisk) -> None:
    """It ends in one message, and goes on when there is room."""
    log, outputs = disk.folder.parent / "log.txt", disk.folder / "outputs"
    bilm_path = latest_run(pretrained, "toy") / "bilstm.pt"
    places = (f"output_dir={outputs}", f"cache_dir={cache_dir}", f"bilm_path={bilm_path}")
    sweep = (*CLS, *places, f"mixer={','.join(MIXERS)}", "-m")
    whole, sweep_dir = outputs / "whole", outputs / "sweep"
    assert run("train_cls", f"hydra.sweep.dir={whole}", *sweep, output=log) == 0
    needed = used(whole)
    for share in (0.4, 0.5, 0.6, 0.8):
        disk.leave(int(share * needed))
        start = len(log.read_text())
        assert run("train_cls", f"hydra.sweep.dir={sweep_dir}", *sweep, output=log) == 1
        said = log.read_text()[start:]
        assert "No space left on device" in said, (share, said)
        assert "Traceback" not in said, (share, said)
        loads(outputs)
        disk.empty()
        assert run("train_cls", f"hydra.sweep.dir={sweep_dir}", *sweep, output=log) == 0
        found, expected = (
            [read_record(file.parent)["metrics"] for file in sorted(folder.glob("*/run.json"))]
            for folder in (sweep_dir, whole)
        )
        assert found == expected
        shutil.rmtree(sweep_dir)


@slow
def test_a_full_cache_disk(pretrained: Path, tmp_path: Path, disk: SmallDisk) -> None:
    log, outputs, cache = tmp_path / "log.txt", tmp_path / "outputs", disk.folder / "cache"
    bilm_path = latest_run(pretrained, "toy") / "bilstm.pt"
    settings = (*CLS, f"bilm_path={bilm_path}", f"output_dir={outputs}", f"cache_dir={cache}")
    whole = outputs / "whole"
    assert run("train_cls", *settings, f"hydra.run.dir={whole}", output=log) == 0
    needed = used(cache)
    codes = set()
    for share in SHARES:
        shutil.rmtree(cache)
        disk.leave(int(share * needed))
        start, run_dir = len(log.read_text()), outputs / str(share)
        code = run("train_cls", *settings, f"hydra.run.dir={run_dir}", output=log)
        said = log.read_text()[start:]
        assert "Traceback" not in said, (share, said)
        if code == 0:  # without the store, and it says so
            assert "the frozen layers" in said, (share, said)
            found, expected = (read_record(folder)["metrics"] for folder in (run_dir, whole))
            assert found["test/accuracy"] == pytest.approx(expected["test/accuracy"], abs=0.001)
        else:
            assert "No space left on device" in said, (share, said)
        codes.add(code)
        for entry in cache.glob("*/*"):
            if entry.is_dir() and entry.parent.name not in ("matplotlib", "torch", "cores"):
                assert is_intact(entry)
        disk.empty()
    assert codes == {0, 1}


@slow
def test_a_read_only_disk(pretrained: Path, cache_dir: Path, disk: SmallDisk) -> None:
    log, outputs = disk.folder.parent / "log.txt", disk.folder / "outputs"
    shutil.copytree(pretrained, outputs)
    subprocess.run(["mount", "-o", "remount,ro", disk.folder], check=True)
    for name, settings, places, key in (
        ("train_lm", LM, (f"output_dir={outputs}", f"cache_dir={cache_dir}"), "output_dir"),
        ("train_cls", CLS, (f"output_dir={outputs}", f"cache_dir={cache_dir}"), "output_dir"),
        ("train_lm", LM, (f"output_dir={log.parent}", f"cache_dir={disk.folder}"), "cache_dir"),
    ):
        start = len(log.read_text()) if log.exists() else 0
        assert run(name, *settings, *places, output=log) == 1
        said = log.read_text()[start:]
        assert said.startswith("error: ")
        assert f"{os.strerror(errno.EROFS)}; choose another {key}" in said
        assert said.count("\n") == 1
    loads(outputs)


class FileSizeLimit:
    """No file of the process grows beyond a size, which takes no rights to set up."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


@pytest.mark.slow
def test_a_checkpoint_that_cannot_grow(cache_dir: Path, tmp_path: Path) -> None:
    log, run_dir = tmp_path / "log.txt", tmp_path / "run"
    wide = [item for item in TINY_LM if "embedding.dim" not in item] + ["embedding.dim=128"]
    places = (f"output_dir={tmp_path}", f"cache_dir={cache_dir}", f"hydra.run.dir={run_dir}")
    limit = FileSizeLimit(ROOM + 2**16)
    assert run("train_lm", *wide, *places, output=log, fault=limit) == 1
    said = log.read_text()
    assert os.strerror(errno.EFBIG) in said
    assert "Traceback" not in said
    assert list((run_dir / "checkpoints").iterdir()) == []
    assert run("train_lm", f"resume={run_dir}", output=log) == 0, log.read_text()
    loads(run_dir)
