from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import torch

from elmo.errors import ConfigError
from elmo.runs import (
    Run,
    atomic_writer,
    publish,
    read_record,
    versions,
    write_json,
    write_text,
)


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
    publish(tmp_path / "folder", lambda path: None)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


def test_json_keeps_its_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"a": "é", "b": [1, None]})
    assert json.loads((tmp_path / "file").read_text()) == {"a": "é", "b": [1, None]}
    assert "é" in (tmp_path / "file").read_text()


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "key"

    def build(path: Path) -> None:
        (path / "one").write_text("1")
        assert not folder.exists()
        (path / "two").write_text("2")

    publish(folder, build)
    assert tree(tmp_path) == ["cache", "cache/key", "cache/key/one", "cache/key/two"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_failing_build_leaves_nothing(error: type, tmp_path: Path) -> None:
    def build(path: Path) -> None:
        (path / "half").write_text("1")
        raise error("disk full")

    with pytest.raises(error, match="disk full"):
        publish(tmp_path / "key", build)
    assert tree(tmp_path) == []


def test_racing_builders_give_one_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    together = threading.Barrier(4, timeout=20)
    failures: list[BaseException] = []

    def build(path: Path) -> None:
        (path / "one").write_text(path.name)
        together.wait()
        (path / "two").write_text(path.name)

    def race() -> None:
        try:
            publish(folder, build)
        except BaseException as error:
            failures.append(error)

    racers = [threading.Thread(target=race) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert failures == []
    assert tree(tmp_path) == ["key", "key/one", "key/two"]
    assert (folder / "one").read_text() == (folder / "two").read_text()


def test_the_faster_builder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "key"

    def build(path: Path) -> None:
        publish(folder, lambda other: (other / "file").write_text("faster"))
        (path / "file").write_text("slower")

    publish(folder, build)
    assert tree(tmp_path) == ["key", "key/file"]
    assert (folder / "file").read_text() == "faster"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run folder after `Run.finish`."""
    run = Run(tmp_path, "bilstm.pt")
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
    with pytest.raises(ConfigError, match=rf"{finished} already holds bilstm\.pt.*hydra\.run\.dir"):
        Run(finished, "bilstm.pt")
    assert (finished / "bilstm.pt").read_bytes() == b"weights"


def test_an_unfinished_run_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "train_lm.log").write_text("killed")
    Run(tmp_path, "bilstm.pt")
