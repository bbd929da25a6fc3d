from __future__ import annotations

import contextlib
import csv
import hashlib
import http.server
import io
import logging
import os
import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo.ag_news import AgNews, read_ag_news_csv
from elmo.corpora import Corpus
from elmo.errors import DataError
from elmo.text import WordTokenizer
from test_corpora import Row, news, texts


def csv_of(rows: list[Row]) -> bytes:
    lines = io.StringIO()
    writer = csv.writer(lines, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(
        (label + 1, f"title {number}", text) for number, (text, label) in enumerate(rows)
    )
    return lines.getvalue().encode()


def content(corpus: Corpus) -> dict[str, list]:
    return {split: rows.to_list() for split, rows in corpus.splits.items()}


TEST_CSV = csv_of(news(7600, "test"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder in the original format: 60 train rows, 7,600 test rows."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "train.csv").write_bytes(csv_of(news(60)))
    (folder / "test.csv").write_bytes(TEST_CSV)
    return folder


def ag_news(source: Path | None, cache_dir: Path, **changes: Any) -> AgNews:
    defaults = {
        "split_seed": 0,
        "validation_size": 10,
        "min_count": 1,
        "max_vocabulary": None,
        "cache_dir": str(cache_dir),
    }
    return AgNews(dir=str(source) if source else None, **{**defaults, **changes})


def test_ag_news_from_a_folder(source: Path, tmp_path: Path) -> None:
    corpus = ag_news(source, tmp_path)
    assert {split: len(rows) for split, rows in corpus.splits.items()} == {
        "train": 50,
        "validation": 10,
        "test": 7600,
    }
    for split in ("train", "validation"):
        for row in corpus.splits[split]:
            assert row["text"] == f"train story {row['row']}"
            assert row["label"] == row["row"] % 4
    assert corpus.splits["test"].features["label"].names == list(corpus.class_names)


def test_another_number_of_train_rows_is_one_warning(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = ag_news(source, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert corpus.facts["train_rows_in_source"] == 60
    (warning,) = [record for record in caplog.records if record.name == "elmo.ag_news"]
    assert "60" in warning.getMessage()
    assert "120,000" in warning.getMessage()


# What is wrong with a train.csv, and the line and the words that its error has to name.
GOOD = b'"1","t","one"\n"2","t","two\nlines"\n'
MALFORMED = {
    "two columns": (GOOD + b'"3","t"\n"4","t","d"\n', 4, "2 columns"),
    "four columns": (GOOD + b'"3","t","d","more"\n', 4, "4 columns"),
    "blank line": (GOOD + b'\n"3","t","d"\n', 4, "0 columns"),
    "label 0": (GOOD + b'"0","t","d"\n', 4, "'0'"),
    "label 5": (GOOD + b'"5","t","d"\n', 4, "'5'"),
    "label in words": (GOOD + b'"World","t","d"\n', 4, "'World'"),
    "header": (b'"class","title","description"\n' + GOOD, 1, "'class'"),
    "invalid UTF-8": (GOOD + b'"3","t","d"\n"3","t\nt","caf\xe9"\n', 6, "UTF-8"),
    "unterminated quote": (GOOD + b'"3","t","d\n"4","t","d"\n', 4, "quote"),
    "unterminated quote at the end": (GOOD + b'"3","t\n\n","d\n', 4, "quote"),
    "text after a quote": (GOOD + b'"3","t"x,"d"\n', 4, "quote"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_rows_are_named(case: str, source: Path, tmp_path: Path) -> None:
    data, line, words = MALFORMED[case]
    file = source / "train.csv"
    file.write_bytes(data)
    with pytest.raises(DataError) as caught:
        list(ag_news(source, tmp_path).read("train"))
    message = str(caught.value)
    assert f"{file}, line {line}:" in message
    assert words in message


@pytest.mark.parametrize(
    "case", ["two columns", "label 0", "invalid UTF-8", "unterminated quote", "empty"]
)
def test_malformed_rows_come_with_the_ways_out(case: str, source: Path, tmp_path: Path) -> None:
    (source / "train.csv").write_bytes(MALFORMED[case][0] if case != "empty" else b"")
    with pytest.raises(DataError, match=r"data\.dir=.*AG_NEWS_DIR.*data=toy"):
        list(ag_news(source, tmp_path).read("train"))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("damage", ["empty file", "no such file"])
def test_a_file_that_is_not_there(damage: str, split: str, source: Path, tmp_path: Path) -> None:
    file = source / f"{split}.csv"
    if damage == "empty file":
        file.write_bytes(b"")
    else:
        file.unlink()
    with pytest.raises(DataError) as caught:
        _ = ag_news(source, tmp_path).splits
    assert f"{file}: {damage}" in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_file_comes_with_the_ways_out(split: str, source: Path, tmp_path: Path) -> None:
    (source / f"{split}.csv").unlink()
    with pytest.raises(DataError, match=r"data\.dir=.*AG_NEWS_DIR.*data=toy"):
        _ = ag_news(source, tmp_path).fingerprint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/nowhere.*data\.dir=.*AG_NEWS_DIR.*data=toy"):
        _ = ag_news(tmp_path / "nowhere", tmp_path).fingerprint


@pytest.mark.parametrize("rows", [7599, 7601])
def test_the_test_split_has_to_be_whole(rows: int, source: Path, tmp_path: Path) -> None:
    lines = TEST_CSV.splitlines(keepends=True)
    (source / "test.csv").write_bytes(b"".join((lines * 2)[:rows]))
    with pytest.raises(DataError, match=rf"test\.csv: {rows:,} rows, expected 7,600.*data=toy"):
        _ = ag_news(source, tmp_path).splits


def test_an_error_leaves_nothing_in_the_cache(source: Path, tmp_path: Path) -> None:
    (source / "train.csv").write_bytes(MALFORMED["label 5"][0])
    cache = tmp_path / "cache"
    with pytest.raises(DataError):
        _ = ag_news(source, cache).splits
    assert not [path for path in cache.rglob("*") if path.is_file()]
    (source / "train.csv").write_bytes(csv_of(news(60)))
    assert len(ag_news(source, cache).splits["train"]) == 50


def descriptions(data: bytes, folder: Path) -> list[str]:
    file = folder / "rows.csv"
    file.write_bytes(data)
    return [row.text for row in read_ag_news_csv(file)]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (b'"NA"', "NA"),
        (b'"null"', "null"),
        (b'""', ""),
        (b'"two\nlines"', "two\nlines"),
        (b'"two\r\nlines"', "two\r\nlines"),
        (b'"a ""quoted"" word"', 'a "quoted" word'),
        (b'""""', '"'),
        (b'"a, b, c"', "a, b, c"),
        (b'"back\\slash\\"', "back\\slash\\"),
        (b'" spaces "', " spaces "),
        ("\u2028 \x85 café".encode().join([b'"', b'"']), "\u2028 \x85 café"),
        (b'"' + b"word " * 5000 + b'"', "word " * 5000),
        (b'"' + b"x" * 200_000 + b'"', "x" * 200_000),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_fields_are_kept_as_they_are(
    field: bytes, text: str, start: bytes, end: bytes, tmp_path: Path
) -> None:
    data = start + b'"1","t",' + field + end + b'"2","t","next"' + end
    assert descriptions(data, tmp_path) == [text, "next"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.integers(0, 3)), min_size=1))
def test_any_text_survives_the_file(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        file.write_bytes(csv_of(rows))
        found = list(read_ag_news_csv(file))
    assert found == [(number, text, label) for number, (text, label) in enumerate(rows)]


@settings(deadline=None)
@given(st.lists(st.text(alphabet='a"\n,'), max_size=8))
def test_the_line_of_an_error_counts_what_an_editor_counts(before: list[str]) -> None:
    good = csv_of([(text, 0) for text in before])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        file.write_bytes(good + b'"5","t","d"\n')
        with pytest.raises(DataError, match=rf"rows\.csv, line {good.count(10) + 1}:"):
            list(read_ag_news_csv(file))


def test_rows_are_cleaned_and_not_tokenised(source: Path, tmp_path: Path) -> None:
    odd = "AP - It #39;s &lt;b&gt;NA&lt;/b&gt;,\\said  so"
    (source / "train.csv").write_bytes(csv_of([*news(30), (odd, 0)]))
    corpus = ag_news(source, tmp_path)
    both = texts(corpus, "train") + texts(corpus, "validation")
    assert "AP - It's NA , said so" in both


class Download:
    """Stands for `datasets.DownloadManager`: gives files of ours, or raises."""

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
    monkeypatch.setattr("elmo.ag_news.DownloadManager", Download(None))
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
    monkeypatch.setattr("elmo.ag_news.DownloadManager", Download(source))
    with pytest.raises(DataError) as caught:
        _ = ag_news(None, tmp_path).splits
    message = str(caught.value)
    for part in (f"{AgNews.URL}{wrong}.csv", hashes[wrong], "0" * 64, "data.dir=", "data=toy"):
        assert part in message
    assert not (source / f"{wrong}.csv").exists()  # the next start downloads it again


def test_the_original_is_what_is_downloaded(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hashes = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in source.iterdir()}
    download = Download(source)
    monkeypatch.setattr(AgNews, "SHA256", hashes)
    monkeypatch.setattr("elmo.ag_news.DownloadManager", download)
    assert content(ag_news(None, tmp_path)) == content(ag_news(source, tmp_path / "other"))
    assert download.urls == [f"{AgNews.URL}train.csv", f"{AgNews.URL}test.csv"]


@pytest.mark.parametrize("reason", ["no server", "no such file"])
def test_a_failed_download_says_that_it_failed(
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


def test_what_was_downloaded_once_needs_no_network_again(
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


def test_the_split_depends_on_split_seed_alone(source: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(source, tmp_path / "elsewhere")
    rows = []
    for seed, arguments in enumerate([{"min_count": 1}, {"min_count": 3, "max_vocabulary": 9}]):
        np.random.seed(seed)
        rows.append(content(ag_news(elsewhere, tmp_path / str(seed), **arguments)))
    assert rows[0] == rows[1] == content(ag_news(source, tmp_path / "2"))
    other = content(ag_news(source, tmp_path / "2", split_seed=1))
    assert other["validation"] != rows[0]["validation"]
    assert other["test"] == rows[0]["test"]


def test_the_second_start_builds_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = ag_news(source, cache)
    expected = content(first), first.facts, first.tokenizer.json

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(Corpus, "_build", refuse)
    monkeypatch.setattr(AgNews, "read", refuse)
    monkeypatch.setattr(WordTokenizer, "train", refuse)
    os.utime(source / "train.csv")  # another date is not another content
    again = ag_news(shutil.copytree(source, tmp_path / "elsewhere"), cache)
    assert (content(again), again.facts, again.tokenizer.json) == expected


@pytest.mark.parametrize("split", ["train", "test"])
def test_other_content_is_another_corpus(split: str, source: Path, tmp_path: Path) -> None:
    before = ag_news(source, tmp_path)
    _ = before.splits
    file = source / f"{split}.csv"
    file.write_bytes(file.read_bytes().replace(b'story 7"', b'story seven"'))
    after = ag_news(source, tmp_path)
    assert after.fingerprint != before.fingerprint
    assert any("seven" in text for rows in content(after).values() for text in map(str, rows))


@pytest.mark.parametrize("change", [{"split_seed": 1}, {"validation_size": 11}])
def test_another_split_is_another_fingerprint(
    change: dict[str, int], source: Path, tmp_path: Path
) -> None:
    assert ag_news(source, tmp_path).fingerprint != ag_news(source, tmp_path, **change).fingerprint


@pytest.fixture(scope="session")
def real(cache_dir: Path) -> AgNews:
    return ag_news(Path(os.environ["AG_NEWS_DIR"]), cache_dir, validation_size=5000, min_count=3)


needs_ag_news = pytest.mark.skipif(not os.environ.get("AG_NEWS_DIR"), reason="AG_NEWS_DIR not set")


@needs_ag_news
def test_real_rows_add_up(real: AgNews) -> None:
    facts = real.facts
    assert facts["test_rows"] == facts["test_rows_in_source"] == 7600
    assert facts["validation_rows"] == 5000
    gone = facts["empty_train_rows"] + facts["train_rows_also_in_test"]
    assert facts["train_rows"] + 5000 + gone == facts["train_rows_in_source"]
    for split, rows in real.splits.items():
        assert facts[f"{split}_rows"] == len(rows)
    assert 0 < facts["descriptions_with_conflicting_labels"] < facts["repeated_descriptions"]
    assert 2 * facts["repeated_descriptions"] <= facts["repeated_rows"]


@needs_ag_news
def test_real_test_file_is_the_one_that_a_download_gives(real: AgNews) -> None:
    assert hashlib.sha256(real.files["test"].read_bytes()).hexdigest() == AgNews.SHA256["test"]


@needs_ag_news
def test_real_test_split_is_balanced(real: AgNews) -> None:
    assert Counter(real.splits["test"]["label"]) == dict.fromkeys(range(4), 1900)


@needs_ag_news
def test_real_rows_hold_no_residue(real: AgNews) -> None:
    residue = re.compile(r"#\d+;|&(?:lt|gt|amp|quot|nbsp);|\b(?:quot|lt|gt|amp);|\\|<\w+ [^>]*=|  ")
    for split in real.splits:
        found = [
            text for text in texts(real, split) if residue.search(text) or text != text.strip()
        ]
        assert not found


@needs_ag_news
def test_real_splits_do_not_overlap(real: AgNews) -> None:
    train, validation, test = (
        {text.lower() for text in texts(real, split)} for split in ("train", "validation", "test")
    )
    assert not train & validation
    assert not train & test
    assert not validation & test
