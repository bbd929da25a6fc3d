from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import ROOT
from elmo.errors import ConfigError
from elmo.runs.folder import Run
from elmo.runs.record import read_record, versions
from elmo.utils.files import atomic_writer, write_json, write_text


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_text(path, "old")
    with atomic_writer(path) as handle:
        handle.write(b"ne")
        handle.flush()
        assert path.read_text() == "old"
        handle.write(b"w")
    assert path.read_text() == "new"
    assert tree(tmp_path) == ["new", "new/file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failing_writer_leaves_the_old_file(error: type, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def write() -> None:
        with atomic_writer(path) as handle:
            handle.write(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert tree(tmp_path) == ["file"]


def test_what_others_may_read_they_may_read(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_json_keeps_its_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"a": "é", "b": [1, None]})
    assert json.loads((tmp_path / "file").read_text()) == {"a": "é", "b": [1, None]}
    assert "é" in (tmp_path / "file").read_text()


def a_run(run_dir: Path, may_continue: bool = False, **settings: Any) -> Run:
    start = {
        "script": "train_lm",
        "overrides": [],
        "settings": {"threads": None, **settings},
        "choices": {},
    }
    plain = {"threads": None, "encoder": {}, **settings}
    return Run(run_dir, "bilstm.pt", start, plain, may_continue)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run folder after `Run.finish`."""
    with a_run(tmp_path) as run:
        time.sleep(0.1)
        (tmp_path / "bilstm.pt").write_bytes(b"weights")
        data = {"name": "toy", "vocabulary_size": 5, "unknown_rate": {"test": 0.25}}
        run.finish(metrics={"val/perplexity": 3.5}, data=data)
    return tmp_path


def test_the_record_says_how_to_repeat_the_run(finished: Path) -> None:
    record = read_record(finished)
    assert record["metrics"] == {"val/perplexity": 3.5}
    assert record["data"]["name"] == "toy"
    assert 0.1 <= record["seconds"] < 30
    assert record["threads"] == torch.get_num_threads()
    assert record["versions"] == versions()
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"python", "lightning", "numpy", "tokenizers", "gensim"} <= set(record["versions"])


def test_no_run_overwrites_another(finished: Path) -> None:
    message = rf"{finished} already holds a run.*resume={finished}.*hydra\.run\.dir"
    with pytest.raises(ConfigError, match=message), a_run(finished):
        pass
    assert (finished / "bilstm.pt").read_bytes() == b"weights"


def test_the_start_of_a_run_is_kept(tmp_path: Path) -> None:
    with a_run(tmp_path, seed=3):
        pass
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["settings"] == {"threads": None, "seed": 3}
    assert record["versions"] == versions()
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if commit.returncode == 0:
        assert record["git"]["commit"] == commit.stdout.strip()


def test_a_run_goes_on_with_its_own_settings_only(tmp_path: Path) -> None:
    with a_run(tmp_path, seed=3, bilm_path="a"):
        pass
    cut = tmp_path / "tables" / ".words.csv-abcd1234"
    cut.parent.mkdir()
    cut.write_text("half a ta")
    with a_run(tmp_path, may_continue=True, seed=3, bilm_path="a") as run:
        assert run.checkpoint is None
        assert not cut.exists()
    message = r"started with bilm_path=a, which is now b.*start a new run"
    with (
        pytest.raises(ConfigError, match=message),
        a_run(tmp_path, may_continue=True, seed=3, bilm_path="b"),
    ):
        pass


def test_a_folder_is_one_run_s_at_a_time(tmp_path: Path) -> None:
    with (
        a_run(tmp_path),
        pytest.raises(ConfigError, match="another process is running this run"),
        a_run(tmp_path, may_continue=True),
    ):
        pass
    with a_run(tmp_path, may_continue=True):
        pass


@pytest.mark.slow
def test_two_starts_in_one_moment_get_different_folders(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train_lm.py"), f"output_dir={tmp_path}", "data=toy"]
    # What comes after the folder is made does not matter here.
    started = [
        subprocess.Popen([*command, "data.rows=1"], stderr=subprocess.DEVNULL) for _ in range(4)
    ]
    for process in started:
        process.wait(timeout=120)
    assert len(list((tmp_path / "train_lm").iterdir())) == 4
