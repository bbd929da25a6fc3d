"""Downloads: continued after a break, or begun again, and whole or not there."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from elmo.errors import ArtifactError
from elmo.utils import download as module
from elmo.utils.download import ATTEMPTS, download
from file_server import FileServer, serving

CONTENT = os.urandom(1000)
WAY_OUT = "download it by hand"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files["/file"] = CONTENT
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def passes(file: Path) -> None:
    pass


def fails(file: Path) -> None:
    raise ValueError("it is pink")


def load(server: FileServer, file: Path, path: str = "/file") -> None:
    download(server.url + path, file, at_least=900, at_most=2000, check=passes, way_out=WAY_OUT)


def ranges(server: FileServer) -> list[str]:
    return [wanted for _, wanted in server.requests]


def tree(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupted(server: FileServer, file: Path) -> None:
    """Have a first call end with half of the file."""
    server.faults = ["cut"] + ["503"] * ATTEMPTS
    with pytest.raises(ArtifactError, match="503"):
        load(server, file)
    server.faults, server.requests = [], []


def test_a_file_arrives_under_its_name_alone(
    server: FileServer, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(server, file)
    assert file.read_bytes() == CONTENT
    assert tree(file.parent) == ["file"]
    assert capsys.readouterr().out == ""


def test_a_cut_connection_is_continued(server: FileServer, file: Path) -> None:
    server.faults = ["cut", "cut"]
    load(server, file)
    assert file.read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=500-", "bytes=750-"]


def test_attempts_that_bring_something_are_not_counted(server: FileServer, file: Path) -> None:
    server.faults = ["cut"] * (ATTEMPTS + 3)
    load(server, file)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("etags", [True, False])
def test_another_call_continues(server: FileServer, file: Path, etags: bool) -> None:
    server.etags = etags
    interrupted(server, file)
    assert tree(file.parent) == ["file.part", "file.part.json"]
    load(server, file)
    assert ranges(server) == ["bytes=500-"]
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("etags", [True, False])
def test_a_changed_file_is_begun_again(server: FileServer, file: Path, etags: bool) -> None:
    """Without ETags, another length shows it."""
    server.etags = etags
    interrupted(server, file)
    server.files["/file"] = changed = os.urandom(1000 if etags else 1001)
    load(server, file)
    assert file.read_bytes() == changed


def test_another_etag_with_a_range_begins_again(server: FileServer, file: Path) -> None:
    """A server that does not know If-Range sends the end of another file of the same length."""
    interrupted(server, file)
    record = file.parent / "file.part.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"validator": ""}))
    load(server, file)
    assert ranges(server) == ["bytes=500-", ""]


def test_a_server_without_ranges_begins_again(server: FileServer, file: Path) -> None:
    server.ranges = False
    server.faults = ["cut"]
    load(server, file)
    assert file.read_bytes() == CONTENT


def test_a_server_without_ranges_is_given_up(server: FileServer, file: Path) -> None:
    """Where every attempt begins at 0 and breaks, bytes arrive but nothing new does."""
    server.ranges = False
    server.faults = ["cut"] * 100
    with pytest.raises(ArtifactError, match="try again later"):
        load(server, file)
    assert len(server.requests) == 1 + ATTEMPTS


def test_a_wrong_range_is_not_appended(server: FileServer, file: Path) -> None:
    server.faults = ["cut", "wrong range"]
    load(server, file)
    assert file.read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=500-", ""]


def test_a_part_that_is_longer_than_the_file_is_dropped(server: FileServer, file: Path) -> None:
    interrupted(server, file)
    (file.parent / "file.part").write_bytes(CONTENT * 2)
    load(server, file)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("record", [b"", b"[]", b'{"url": "x"}', b"\xff"])
def test_a_part_without_its_record_is_dropped(
    server: FileServer, file: Path, record: bytes
) -> None:
    interrupted(server, file)
    (file.parent / "file.part.json").write_bytes(record)
    load(server, file)
    assert ranges(server) == [""]
    assert file.read_bytes() == CONTENT


def test_a_part_of_another_address_is_dropped(server: FileServer, file: Path) -> None:
    """Even where nothing else tells the two files apart."""
    server.etags = False
    interrupted(server, file)
    server.files["/other"] = other = os.urandom(1000)
    load(server, file, "/other")
    assert file.read_bytes() == other


def test_a_whole_part_needs_no_request(server: FileServer, file: Path) -> None:
    """The process was killed before the file got its name."""
    interrupted(server, file)
    (file.parent / "file.part").write_bytes(CONTENT)
    load(server, file)
    assert server.requests == []
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["429", "500", "503"])
def test_a_busy_server_is_asked_again(server: FileServer, file: Path, status: str) -> None:
    server.faults = [status, status]
    load(server, file)
    assert file.read_bytes() == CONTENT


def test_pauses_grow(server: FileServer, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module, "PAUSE", 1.0)
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    server.faults = ["503"] * ATTEMPTS
    with pytest.raises(ArtifactError, match="try again later, or download it by hand"):
        load(server, file)
    assert pauses == [1, 2, 4]


@pytest.mark.parametrize("status", ["403", "404"])
def test_a_refusal_is_final_and_keeps_what_is_there(
    server: FileServer, file: Path, status: str
) -> None:
    interrupted(server, file)
    server.faults = [status]
    with pytest.raises(ArtifactError, match=f"{server.url}/file: .*{status}.*; {WAY_OUT}"):
        load(server, file)
    assert len(server.requests) == 1
    assert (file.parent / "file.part").read_bytes() == CONTENT[:500]


@pytest.mark.parametrize("size", [899, 2001])
def test_a_length_out_of_proportion_is_refused(server: FileServer, file: Path, size: int) -> None:
    server.files["/file"] = bytes(size)
    with pytest.raises(ArtifactError, match=f"{size:,} bytes .*; expected 900 to 2,000; {WAY_OUT}"):
        load(server, file)
    assert tree(file.parent) == []


def test_a_small_page_does_not_replace_what_is_there(server: FileServer, file: Path) -> None:
    """The log-in page of a network answers every request."""
    interrupted(server, file)
    server.files["/file"] = b"<html>"
    with pytest.raises(ArtifactError, match="6 bytes"):
        load(server, file)
    assert (file.parent / "file.part").read_bytes() == CONTENT[:500]


def test_a_file_without_a_length_is_refused(server: FileServer, file: Path) -> None:
    server.faults = ["lengthless"]
    with pytest.raises(ArtifactError, match="does not say how long"):
        load(server, file)
    assert tree(file.parent) == []


def test_a_file_that_fails_its_check_is_dropped(server: FileServer, file: Path) -> None:
    with pytest.raises(ArtifactError, match=f"{server.url}/file: it is pink; {WAY_OUT}"):
        download(f"{server.url}/file", file, at_least=1, at_most=2000, check=fails, way_out=WAY_OUT)
    assert tree(file.parent) == []


def test_no_redirect_leads_away_from_https(server: FileServer, file: Path) -> None:
    server.files["/other"] = CONTENT
    server.faults = [f"-> {server.url}/other"]
    with pytest.raises(ArtifactError, match=f"redirects to {server.url}/other; only https"):
        load(server, file)
    assert len(server.requests) == 1


def test_a_redirect_to_https_is_followed(server: FileServer, file: Path) -> None:
    """As far as it goes: this server speaks no TLS."""
    server.faults = [f"-> {server.url.replace('http', 'https')}/file"] * ATTEMPTS
    with pytest.raises(ArtifactError, match=r"(?i)ssl.*; try again later"):
        load(server, file)


def test_no_server_is_one_clear_line(server: FileServer, file: Path) -> None:
    with serving() as gone:
        pass
    with pytest.raises(ArtifactError, match=f"{gone.url}/file: .*refused.*{WAY_OUT}") as caught:
        load(gone, file)
    assert "\n" not in str(caught.value)


def test_a_full_disk_keeps_what_arrived(
    server: FileServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.tqdm, "update", full)  # behind the write of a piece
        server.faults = ["cut"]
        with pytest.raises(OSError, match="No space"):
            load(server, file)
    server.requests = []
    load(server, file)
    assert ranges(server) == ["bytes=500-"]
    assert file.read_bytes() == CONTENT
