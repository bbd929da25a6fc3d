from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from elmo.data.corpora.ag_news import AgNews
from elmo.errors import DataError
from small_corpora import ag_news, content


class Download:
    """A replacement for `datasets.DownloadManager` that returns test files or raises."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.urls: list[str] = []

    def __call__(self, **_: Any) -> Download:
        return self

    def download(self, url: str) -> str:
        self.urls.append(url)
        if self.folder is None:
            raise ConnectionError("network is unreachable")
        return str(self.folder / url.rsplit("/", 1)[1])


def test_no_network_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("elmo.data.corpora.ag_news.DownloadManager", Download(None))
    with pytest.raises(DataError) as caught:
        _ = ag_news(None, tmp_path).splits
    message = str(caught.value)
    for part in (AgNews.URL, "unreachable", "data.dir=", "AG_NEWS_DIR", "data=toy"):
        assert part in message


@pytest.mark.parametrize("wrong", ["train", "test"])
def test_a_download_with_another_hash_is_refused(
    wrong: str, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hashes = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in source.iterdir()}
    monkeypatch.setattr(AgNews, "SHA256", {**hashes, wrong: "0" * 64})
    monkeypatch.setattr("elmo.data.corpora.ag_news.DownloadManager", Download(source))
    with pytest.raises(DataError) as caught:
        _ = ag_news(None, tmp_path).splits
    message = str(caught.value)
    for part in (f"{AgNews.URL}{wrong}.csv", hashes[wrong], "0" * 64, "data.dir=", "data=toy"):
        assert part in message
    assert not (source / f"{wrong}.csv").exists()  # the next start downloads it again


def test_the_original_files_are_downloaded(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hashes = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in source.iterdir()}
    download = Download(source)
    monkeypatch.setattr(AgNews, "SHA256", hashes)
    monkeypatch.setattr("elmo.data.corpora.ag_news.DownloadManager", download)
    assert content(ag_news(None, tmp_path)) == content(ag_news(source, tmp_path / "other"))
    assert download.urls == [f"{AgNews.URL}train.csv", f"{AgNews.URL}test.csv"]


@pytest.mark.parametrize("reason", ["no server", "no such file"])
def test_a_failed_download_gives_the_reason(
    reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served(tmp_path) as url:
        monkeypatch.setattr(AgNews, "URL", url)
        if reason == "no such file":
            with pytest.raises(DataError) as caught:
                _ = ag_news(None, tmp_path).files
    if reason == "no server":
        with pytest.raises(DataError) as caught:
            _ = ag_news(None, tmp_path).files
    finding = str(caught.value).replace(f"{url}train.csv", "").split("put the original")[0]
    assert re.search("[a-z]{4}", finding)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, and yield its URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_download_is_reused_without_network(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hashes = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in source.iterdir()}
    monkeypatch.setattr(AgNews, "SHA256", hashes)
    cache = tmp_path / "cache"
    with served(source) as url:
        monkeypatch.setattr(AgNews, "URL", url)
        first = content(ag_news(None, cache))
    assert content(ag_news(None, cache)) == first
