"""Cached folders: whole or not there, and built again where they are damaged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from elmo.utils.cache import SEAL, cached, is_intact, publish


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "key"

    def build(path: Path) -> None:
        (path / "one").write_text("1")
        assert not folder.exists()
        (path / "two").write_text("2")

    publish(folder, build)
    assert tree(tmp_path) == [
        "cache",
        "cache/key",
        "cache/key/one",
        "cache/key/sha256.json",
        "cache/key/two",
    ]


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
    assert tree(tmp_path) == ["key", "key/one", "key/sha256.json", "key/two"]
    assert (folder / "one").read_text() == (folder / "two").read_text()


def test_the_faster_builder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "key"

    def build(path: Path) -> None:
        publish(folder, lambda other: (other / "file").write_text("faster"))
        (path / "file").write_text("slower")

    publish(folder, build)
    assert tree(tmp_path) == ["key", "key/file", "key/sha256.json"]
    assert (folder / "file").read_text() == "faster"


def test_what_others_may_read_they_may_read(tmp_path: Path) -> None:
    publish(tmp_path / "folder", lambda path: None)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


def fill(path: Path) -> None:
    (path / "below").mkdir()
    (path / "below/one").write_text("1" * 1000)
    (path / "two").write_text("2")


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "below/one").read_bytes())
    content[500] ^= 1
    (folder / "below/one").write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit": flip_a_bit,
    "the end": lambda folder: (folder / "two").write_text(""),
    "a file": lambda folder: (folder / "two").unlink(),
    "the seal": lambda folder: (folder / SEAL).unlink(),
    "half of the seal": lambda folder: (folder / SEAL).write_text("{"),
    "another seal": lambda folder: (folder / SEAL).write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_built_again(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = cached(tmp_path / "key", fill)
    before = tree(tmp_path)
    assert is_intact(folder)
    DAMAGES[damage](folder)
    cached(folder, fill)
    assert f"{folder}: damaged" in caplog.text
    assert (folder / "below/one").read_text() == "1" * 1000
    assert [name for name in tree(tmp_path) if name != ".lock"] == before


def test_a_whole_folder_is_not_built_again(tmp_path: Path) -> None:
    folder = cached(tmp_path / "key", fill)
    before = folder.stat().st_ino
    cached(folder, lambda path: pytest.fail("built again"))
    assert folder.stat().st_ino == before


def test_many_who_find_the_damage_leave_one_whole_folder(tmp_path: Path) -> None:
    folder = cached(tmp_path / "key", fill)
    for _ in range(10):
        flip_a_bit(folder)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: cached(folder, fill), range(4)))
        assert is_intact(folder)
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["key"]
