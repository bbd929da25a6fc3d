"""Published models by name: downloaded once, checked by their shapes, never taken for another."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from elmo.errors import ArtifactError, ConfigError
from elmo.models.published_download import (
    HOST,
    PUBLISHED,
    PublishedModel,
    cache_folder,
    fetch,
)
from elmo.utils import download
from file_server import FileServer, serving

# With more numbers than HDF5 needs for itself: a file of twice their size is refused.
TINY = PublishedModel("tiny", "2x/elmo_2x", 64, 8, 1, char_dim=3, filters=((1, 4), (3, 8)))
CELL = "RNN_{}/RNN/MultiRNNCell/Cell{}/LSTMCell"
SHAPES: dict[str, tuple[int, ...]] = {
    "char_embed": (261, 3),
    "CNN/W_cnn_0": (1, 1, 3, 4),
    "CNN/b_cnn_0": (4,),
    "CNN/W_cnn_1": (1, 3, 3, 8),
    "CNN/b_cnn_1": (8,),
    "CNN_high_0/W_carry": (12, 12),
    "CNN_high_0/b_carry": (12,),
    "CNN_high_0/W_transform": (12, 12),
    "CNN_high_0/b_transform": (12,),
    "CNN_proj/W_proj": (12, 8),
    "CNN_proj/b_proj": (8,),
    **{
        f"{CELL.format(direction, layer)}/{name}": shape
        for direction in range(2)
        for layer in range(2)
        for name, shape in (("W_0", (16, 256)), ("B", (256,)), ("W_P_0", (64, 8)))
    },
}
OPTIONS = "/2x/elmo_2x_options.json"
WEIGHTS = "/2x/elmo_2x_weights.hdf5"


def plain(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file[name] = np.full(shape, 0.5, "float32")


def written(
    folder: Path, odd: str = "", write: Callable[[h5py.File, str, tuple[int, ...]], None] = plain
) -> bytes:
    """The weights of `TINY`, where `write` has written the data set `odd`."""
    path = folder / "written.hdf5"
    with h5py.File(path, "w") as file:
        for name, shape in SHAPES.items():
            (write if name == odd else plain)(file, name, shape)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ELMO_CACHE", str(tmp_path / "cache"))
    with serving() as server:
        server.files[OPTIONS] = json.dumps(TINY.options | {"n_tokens_vocab": 9}).encode()
        server.files[WEIGHTS] = written(tmp_path)
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "model"


def tree(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "numbers", "stem"),
    [
        ("small", 13_593_296, "2x1024_128_2048cnn_1xhighway"),
        ("medium", 28_027_728, "2x2048_256_2048cnn_1xhighway"),
        ("original", 93_600_848, "2x4096_512_2048cnn_2xhighway"),
        ("5.5B", 93_600_848, "2x4096_512_2048cnn_2xhighway_5.5B"),
    ],
)
def test_the_four_models(name: str, numbers: int, stem: str) -> None:
    model = PUBLISHED[name]
    assert model.numbers == numbers
    url = f"https://allennlp.s3.amazonaws.com/models/elmo/{stem}/elmo_{stem}"
    assert model.url("options.json") == f"{url}_options.json"
    assert model.url("weights.hdf5") == f"{url}_weights.hdf5"
    mirror = model.url("weights.hdf5", "http://localhost/")
    assert mirror == f"http://localhost/{stem}/elmo_{stem}_weights.hdf5"


def test_a_model_is_downloaded_once(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert TINY.numbers == sum(map(math.prod, SHAPES.values()))
    folder = fetch(TINY, base_url=server.url)
    assert folder == tmp_path / "cache" / "tiny"
    assert tree(folder) == [".lock", "options.json", "weights.hdf5"]
    assert (folder / "weights.hdf5").read_bytes() == server.files[WEIGHTS]
    assert (folder / "options.json").read_bytes() == server.files[OPTIONS]
    assert [path for path, _ in server.requests] == [OPTIONS, WEIGHTS]
    assert fetch(TINY, base_url=server.url) == folder
    assert len(server.requests) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{server.url}{WEIGHTS}: downloading 0 MB to {folder}" in printed.err


def test_a_broken_download_is_continued(server: FileServer, folder: Path) -> None:
    server.faults = ["", "cut", "404"]
    with pytest.raises(ArtifactError, match="404"):
        fetch(TINY, folder, server.url)
    assert tree(folder) == [".lock", "options.json", "weights.hdf5.part", "weights.hdf5.part.json"]
    server.requests = []
    fetch(TINY, folder, server.url)
    half = len(server.files[WEIGHTS]) // 2
    assert server.requests == [(WEIGHTS, f"bytes={half}-")]
    assert (folder / "weights.hdf5").read_bytes() == server.files[WEIGHTS]


def test_without_a_network_one_line_names_both_files(server: FileServer, folder: Path) -> None:
    with serving() as gone:
        pass
    with pytest.raises(ArtifactError, match=r"download failed .*refused") as caught:
        fetch(TINY, folder, gone.url)
    message = str(caught.value)
    assert message.endswith(
        f"try again later, or save {gone.url}{OPTIONS} by hand as {folder}/options.json and "
        f"save {gone.url}{WEIGHTS} by hand as {folder}/weights.hdf5: everything works from files"
    )
    assert "\n" not in message


def test_files_copied_by_hand_need_no_network_and_no_write(
    server: FileServer, folder: Path
) -> None:
    folder.mkdir()
    (folder / "options.json").write_bytes(server.files[OPTIONS])
    (folder / "weights.hdf5").write_bytes(server.files[WEIGHTS])
    assert fetch(TINY, folder, "http://nowhere.invalid") == folder
    assert tree(folder) == ["options.json", "weights.hdf5"]


def test_two_callers_download_once(server: FileServer, folder: Path) -> None:
    together = threading.Barrier(3, timeout=20)

    def call() -> Path:
        together.wait()
        return fetch(TINY, folder, server.url)

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(call) for _ in range(3)]
        assert {each.result() for each in calls} == {folder}
    assert len(server.requests) == 2


def other_shape(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    plain(file, name, (*shape, 2))


def other_type(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file[name] = np.zeros(shape, "float64")


def missing(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    pass


def group(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file.create_group(name)


def external_link(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file[name] = h5py.ExternalLink("other.hdf5", "/x")


def soft_link(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    plain(file, "elsewhere", shape)
    file[name] = h5py.SoftLink("/elsewhere")


def never_written(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file.create_dataset(name, shape, "float32")


def virtual(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    layout = h5py.VirtualLayout(shape, "float32")
    layout[:] = h5py.VirtualSource("other.hdf5", "x", shape)
    file.create_virtual_dataset(name, layout)


def external_storage(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file.create_dataset(name, shape, "float32", external="/etc/hostname")


NOWHERE = "data set '{}' is not whole in this file"
WRONG: dict[Callable[[h5py.File, str, tuple[int, ...]], None], str] = {
    other_shape: r"data set '{}' has shape \(.*, 2\), expected \(.*\) by the options",
    other_type: "data set '{}' has dtype float64, expected float32",
    missing: "data set '{}' is missing, or is a link",
    group: "data set '{}' is missing, or is a link",
    external_link: "data set '{}' is missing, or is a link",
    soft_link: "data set '{}' is missing, or is a link",
    never_written: NOWHERE,
    virtual: NOWHERE,
    external_storage: NOWHERE,
}


@pytest.mark.parametrize("write", WRONG, ids=lambda write: write.__name__)
def test_other_weights_are_refused(
    write: Any, server: FileServer, folder: Path, tmp_path: Path
) -> None:
    name = f"{CELL.format(1, 1)}/W_P_0"
    server.files[WEIGHTS] = written(tmp_path, name, write)
    with pytest.raises(ArtifactError, match=WRONG[write].format(name)) as caught:
        fetch(TINY, folder, server.url)
    message = str(caught.value)
    assert message.startswith(f"{server.url}{WEIGHTS}: ")
    assert message.endswith(
        f"; save {server.url}{WEIGHTS} by hand as {folder}/weights.hdf5: everything works from "
        "files"
    )
    assert "\n" not in message
    assert tree(folder) == [".lock", "options.json"]


def test_a_file_that_is_cut_on_the_server_is_refused(server: FileServer, folder: Path) -> None:
    """Its length is the one that the server says, and not too small for the numbers."""
    server.files[WEIGHTS] = server.files[WEIGHTS][:-8]
    assert len(server.files[WEIGHTS]) > 4 * TINY.numbers
    with pytest.raises(ArtifactError, match=r"not readable \(.*truncated file"):
        fetch(TINY, folder, server.url)
    assert tree(folder) == [".lock", "options.json"]


def test_weights_that_hide_a_cut_are_refused(server: FileServer, folder: Path) -> None:
    """The length that HDF5 compares is the one at byte 40."""
    cut = bytearray(server.files[WEIGHTS][:-8])
    cut[40:48] = len(cut).to_bytes(8, "little")
    server.files[WEIGHTS] = bytes(cut)
    with pytest.raises(ArtifactError, match=r"W_P_0' is damaged: .*invalid dataset size"):
        fetch(TINY, folder, server.url)


def test_a_page_in_place_of_weights_is_refused(server: FileServer, folder: Path) -> None:
    server.files[WEIGHTS] = b"<!DOCTYPE html>".ljust(5 * TINY.numbers)
    with pytest.raises(ArtifactError, match="not an HDF5 file, it begins with b'<!DOCTYP'"):
        fetch(TINY, folder, server.url)
    server.files[WEIGHTS] = b"<!DOCTYPE html>"
    least, most = 4 * TINY.numbers, 8 * TINY.numbers
    with pytest.raises(ArtifactError, match=f"15 bytes .*; expected {least:,} to {most:,}"):
        fetch(TINY, folder, server.url)
    assert tree(folder) == [".lock", "options.json"]


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"<html>", "not JSON, it begins with b'<html>'"),
        (b"\xff", "not JSON"),
        (b"[" * 60_000, r"not readable \(.*recursion"),
        (b"[]", r"lstm.dim is None; expected 64"),
        (b'{"lstm": 3}', r"lstm.dim is None; expected 64"),
        (json.dumps(PUBLISHED["small"].options).encode(), "lstm.dim is 1024; expected 64"),
        (b"[]".ljust(70_000), "70,000 bytes"),
    ],
)
def test_other_options_are_refused(
    content: bytes, finding: str, server: FileServer, folder: Path
) -> None:
    server.files[OPTIONS] = content
    with pytest.raises(ArtifactError, match=f"{server.url}{OPTIONS}: .*{finding}"):
        fetch(TINY, folder, server.url)
    assert tree(folder) == [".lock"]


@pytest.mark.parametrize("name", ["options.json", "weights.hdf5"])
def test_a_wrong_file_that_is_there_is_named_and_kept(
    name: str, server: FileServer, folder: Path
) -> None:
    fetch(TINY, folder, server.url)
    (folder / name).write_bytes(content := (folder / name).read_bytes()[:-8])
    with pytest.raises(ArtifactError, match=f"^{folder / name}: .*; delete it to have it"):
        fetch(TINY, folder, server.url)
    assert (folder / name).read_bytes() == content
    assert len(server.requests) == 2


def test_nothing_is_downloaded_beside_wrong_options(server: FileServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "options.json").write_text("{}")
    with pytest.raises(ArtifactError, match=f"^{folder}/options.json: lstm.dim is None"):
        fetch(TINY, folder, server.url)
    assert server.requests == []


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"large: .*expected one of small, medium, original, 5.5B"
    ):
        fetch("large")


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "file:///etc", "host/x", "http://", "http://host:port/"]
)
def test_a_base_url_that_is_none_is_refused(url: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"expected an address like {HOST}"):
        fetch(TINY, folder, url)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_named(server: FileServer, folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(ConfigError, match=f"{folder}: cannot hold the model.*ELMO_CACHE"):
        fetch(TINY, folder, server.url)


def test_the_cache_lies_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ELMO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder("small") == tmp_path / "home" / ".cache" / "elmo" / "small"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder("small") == tmp_path / "home" / ".cache" / "elmo" / "small"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("small") == tmp_path / "xdg" / "elmo" / "small"
    monkeypatch.setenv("ELMO_CACHE", "~/own")
    assert cache_folder("5.5B") == tmp_path / "home" / "own" / "5.5B"
