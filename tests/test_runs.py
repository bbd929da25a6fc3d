from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from elmo.errors import ConfigError, MissingModelError
from elmo.runs import (
    Run,
    atomic_writer,
    latest_pointer,
    latest_run,
    move_latest,
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


def pretrained(output_dir: Path, name: str, perplexity: Any, fingerprint: str = "a") -> Path:
    run_dir = output_dir / "train_lm" / name
    run_dir.mkdir(parents=True)
    (run_dir / "bilstm.pt").write_bytes(b"weights")
    write_json(
        run_dir / "metrics.json",
        {"metrics": {"val/perplexity": perplexity}, "data": {"fingerprint": fingerprint}},
    )
    return run_dir


def test_without_a_pretrained_model_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r"python train_lm\.py data=toy.*bilm_path="):
        latest_run(tmp_path, "toy")


@pytest.mark.parametrize("gone", ["train_lm/one", "train_lm", "train_lm/one/bilstm.pt"])
def test_a_run_that_is_gone_is_named_with_the_command(gone: str, tmp_path: Path) -> None:
    run_dir = pretrained(tmp_path, "one", 3.0)
    move_latest(tmp_path, "toy", run_dir, only_if_better=False)
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(MissingModelError, match=rf"{run_dir}.*python train_lm\.py data=toy"):
        latest_run(tmp_path, "toy")


@pytest.mark.parametrize("pointer", ["", "\n", "nonsense\n"])
def test_a_damaged_pointer_is_no_model(pointer: str, tmp_path: Path) -> None:
    write_text(latest_pointer(tmp_path, "toy"), pointer)
    with pytest.raises(MissingModelError, match=r"python train_lm\.py data=toy"):
        latest_run(tmp_path, "toy")


def test_the_pointer_follows_the_output_folder(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    move_latest(outputs, "toy", pretrained(outputs, "one", 3.0), only_if_better=False)
    outputs.rename(tmp_path / "moved")
    assert latest_run(tmp_path / "moved", "toy") == tmp_path / "moved" / "train_lm" / "one"


def test_a_run_outside_the_output_folder(tmp_path: Path) -> None:
    run_dir = pretrained(tmp_path / "elsewhere", "one", 3.0)
    move_latest(tmp_path / "outputs", "toy", run_dir, only_if_better=False)
    assert latest_run(tmp_path / "outputs", "toy") == run_dir


def test_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    move_latest(Path("outputs"), "toy", pretrained(Path("outputs"), "one", 3.0), False)
    assert latest_run(Path("outputs"), "toy") == Path("outputs/train_lm/one")
    outside = pretrained(Path("elsewhere"), "two", 3.0)
    move_latest(Path("outputs"), "toy", outside, False)
    monkeypatch.chdir("/")
    assert latest_run(tmp_path / "outputs", "toy").resolve() == (tmp_path / outside).resolve()


def test_each_corpus_has_its_pointer(tmp_path: Path) -> None:
    one, other = pretrained(tmp_path, "one", 3.0), pretrained(tmp_path, "other", 9.0)
    move_latest(tmp_path, "toy", one, only_if_better=True)
    move_latest(tmp_path, "ag_news", other, only_if_better=True)
    assert latest_run(tmp_path, "toy") == one
    assert latest_run(tmp_path, "ag_news") == other


NAN = float("nan")


@pytest.mark.parametrize(
    ("standing", "new", "moves"),
    [
        (3.0, 2.9, True),
        (3.0, 3.1, False),
        (3.0, 3.0, False),
        (3.0, float("inf"), False),
        (3.0, NAN, False),  # a job that diverged
        (NAN, 3.0, True),
    ],
)
def test_in_a_multirun_the_better_run_stands(
    standing: float, new: float, moves: bool, tmp_path: Path
) -> None:
    first, second = pretrained(tmp_path, "first", standing), pretrained(tmp_path, "second", new)
    move_latest(tmp_path, "toy", first, only_if_better=True)
    move_latest(tmp_path, "toy", second, only_if_better=True)
    assert latest_run(tmp_path, "toy") == (second if moves else first)


def test_a_single_run_always_moves_the_pointer(tmp_path: Path) -> None:
    for name, perplexity in (("first", 3.0), ("worse", 9.0)):
        move_latest(tmp_path, "toy", pretrained(tmp_path, name, perplexity), only_if_better=False)
    assert latest_run(tmp_path, "toy").name == "worse"


def test_a_run_on_other_data_does_not_compete(tmp_path: Path) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0, "b")
    move_latest(tmp_path, "toy", first, only_if_better=True)
    move_latest(tmp_path, "toy", second, only_if_better=True)
    assert latest_run(tmp_path, "toy") == second


@pytest.mark.parametrize(
    "record",
    [None, "", "{", "{}", "[]", "null", '{"data": null}', '{"data": {"fingerprint": "a"}}'],
)
def test_a_standing_run_without_a_readable_record_is_replaced(
    record: str | None, tmp_path: Path
) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0)
    move_latest(tmp_path, "toy", first, only_if_better=True)
    if record is None:
        (first / "metrics.json").unlink()
    else:
        (first / "metrics.json").write_text(record)
    move_latest(tmp_path, "toy", second, only_if_better=True)
    assert latest_run(tmp_path, "toy") == second


def test_a_standing_run_without_its_model_is_replaced(tmp_path: Path) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0)
    move_latest(tmp_path, "toy", first, only_if_better=True)
    (first / "bilstm.pt").unlink()
    move_latest(tmp_path, "toy", second, only_if_better=True)
    assert latest_run(tmp_path, "toy") == second
