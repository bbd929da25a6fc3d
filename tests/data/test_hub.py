"""Data sets of the hub, here in a local folder, because tests have no network."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from data.test_streaming import same, take
from elmo.data.corpora.hub import HubCorpus
from elmo.data.language_model_data import LanguageModelData
from elmo.data.streaming import StreamLoader
from elmo.data.text import UNK
from elmo.errors import ConfigError, DataError
from small_corpora import texts

ROWS = [{"text": f"text number {n}", "topic": n % 3, "kind": "ab"[n % 2]} for n in range(150)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Train and test split as JSON lines, like in a repository on the hub."""
    folder = tmp_path / "owner" / "news"
    folder.mkdir(parents=True)
    for split, rows in (("train", ROWS[:120]), ("test", ROWS[120:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def hub(folder: Path | None, **arguments: Any) -> HubCorpus:
    """Return the corpus of a folder with a cache near it."""
    rules = {
        "name": str(folder) if folder else None,
        "files": None,
        "config": None,
        "revision": None,
        "text_column": "text",
        "label_column": "kind",
        "train_split": "train",
        "test_split": None,
        "test_share": 0.1,
        "split_seed": 0,
        "validation_size": 0.1,
        "min_count": 1,
        "max_vocabulary": None,
        "cache_dir": str(folder.parent.parent / "cache") if folder else "cache",
    }
    return HubCorpus(**{**rules, **arguments})


def test_splits_and_classes_of_a_data_set(folder: Path) -> None:
    corpus = hub(folder)
    assert corpus.class_names == ("a", "b")
    assert texts(corpus, "test") == [str(row["text"]) for row in ROWS[120:]]
    assert len(corpus.splits["train"]) == 108
    assert corpus.name.endswith("owner-news")
    assert hub(folder, label_column="topic").class_names == ("0", "1", "2")
    joined = hub(folder, text_column=["kind", "text"])
    assert texts(joined, "test")[0] == "a text number 120"
    assert joined.fingerprint != corpus.fingerprint
    assert hub(folder).fingerprint == corpus.fingerprint


def test_declared_classes_keep_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features(text=Value("string"), label=ClassLabel(names=["zebra", "ape"]))
    rows = Dataset.from_dict({"text": ["one", "two"] * 40, "label": [0, 1] * 40}, features)
    corpus = hub(folder, label_column="label")
    corpus.__dict__["source"] = {"train": rows}
    assert corpus.class_names == ("zebra", "ape")
    assert not corpus.has_test_split
    assert {(row.text, row.label) for row in corpus.read("train")} <= {("one", 0), ("two", 1)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text_column": "body"}, r"data.text_column: .* no column 'body'; expected one of text,"),
        ({"label_column": "class"}, "data.label_column: .* no column 'class'"),
        ({"train_split": "training"}, "data.train_split: .* no split 'training'; expected one of"),
        ({"name": None}, "data.name is not set"),
    ],
)
def test_mistakes_are_named(folder: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _ = hub(folder, **arguments).splits


def test_a_failed_load_comes_with_solutions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"cannot be loaded .*data=text"):
        _ = hub(tmp_path / "nothing" / "there").splits


def test_a_row_without_text_is_named(folder: Path) -> None:
    with (folder / "train.jsonl").open("a") as handle:
        handle.write(json.dumps({"text": None, "topic": 1, "kind": "a"}) + "\n")
    with pytest.raises(DataError, match="row 120: 'text' is None, expected a string"):
        _ = hub(folder).splits


def test_a_stream_gives_each_document_once_a_round(folder: Path) -> None:
    corpus = hub(folder, streaming=True, sample_documents=60)
    assert len(corpus.splits["train"]) == 54
    data = LanguageModelData(
        corpus=corpus,
        token_budget=64,
        num_workers=0,
        seed=0,
        evaluation_rows=10,
        epoch_batches=9,
        buffer_documents=30,
    )
    loader = data.train_dataloader()
    assert isinstance(loader, StreamLoader)
    seen = [row for batch in take(loader, 30) for row in map(tuple, batch.tokens.tolist())]
    unknown = {row for row in seen if row[3] == UNK}  # numbers that are not in the sample
    assert len(set(seen) - unknown) == 54
    again = data.train_dataloader()
    assert isinstance(again, StreamLoader)
    take(again, 12)
    rest = data.train_dataloader()
    assert isinstance(rest, StreamLoader)
    rest.load_state_dict(again.state_dict())
    assert same(take(rest, 10), take(again, 10))
    with pytest.raises(ConfigError, match="num_workers is 2; expected 0 or 1 with data=hub"):
        corpus.stream([0, 1], 2)


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """The URL of a server with the files of the folder, one of them compressed as well."""
    (folder / "train.jsonl.gz").write_bytes(gzip.compress((folder / "train.jsonl").read_bytes()))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("file", ["train.jsonl", "train.jsonl.gz"])
@pytest.mark.parametrize("streaming", [True, False])
def test_files_at_urls(folder: Path, address: str, file: str, streaming: bool) -> None:
    corpus = hub(folder, name="json", files=f"{address}/{file}", streaming=streaming)
    read = [text for split in ("train", "validation", "test") for text in texts(corpus, split)]
    assert sorted(read) == sorted(str(row["text"]) for row in ROWS[:120])
    if streaming:
        streamed = [row["text"] for row in corpus.stream([0], 1)]
        assert streamed == [row["text"] for row in ROWS[:120]]


def test_a_url_without_a_file(folder: Path, address: str) -> None:
    with pytest.raises(DataError, match=r"data\.name=json: cannot be loaded .*data\.files"):
        _ = hub(folder, name="json", files=f"{address}/none.jsonl").splits
