"""Any bytes give data or one of our errors: never another exception, a hang, or much memory."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gensim.models import KeyedVectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elmo.data.corpora.ag_news import read_ag_news_csv
from elmo.data.readers import TABLES, read_documents
from elmo.data.text import BOS, EOS, PAD, WordTokenizer, clean
from elmo.errors import ArtifactError, ConfigError, DataError
from elmo.models.classifier import load_classifier
from elmo.models.loading import load_bilm
from elmo.models.vector_files import read_vectors
from elmo.runs.latest import latest_run
from elmo.training.checkpoints import read_checkpoint

FEW, MANY = 150, 5000
DEADLINE = 5000  # milliseconds for one input, on a busy machine


def fuzz(strategy: st.SearchStrategy, check: Callable[[Any], None], count: int) -> None:
    """`check` on `count` inputs, always the same ones; one that hangs is a failure."""

    @settings(
        max_examples=count,
        deadline=DEADLINE,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(value: Any) -> None:
        check(value)

    run()


counts = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])

# What files of text are made of, well and badly.
PIECES = (
    b'"3","Title","The bank, it said, ""rose"""', b'"1","",""', b'"NA","NA","NA"', b'"2","a","NA"',
    b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"\0", b"\t", b"\\", b"'", b"1", b"5", b" ",
    b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xed\xa0\x80", "\u2028".encode(), "\x85".encode(),
    "\U0001f1e9\u0301\u200d\u202e\ufdfa".encode(), b"{", b"}", b'{"text": "a"}', b'{"text": null}',
    b"[" * 50, b"text", b'"text"', b"<a href=", b"&amp;", b"x" * 300,
)  # fmt: skip
TEXT_FILES = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join),
)


def in_proportion(content: bytes, work: Callable[[], object]) -> None:
    """Python's own memory stays within a megabyte and a hundred times the input."""
    tracemalloc.start()
    try:
        work()
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 100 * len(content)
    finally:
        tracemalloc.stop()


@counts
def test_ag_news(count: int, tmp_path: Path) -> None:
    file = tmp_path / "train.csv"

    def check(content: bytes) -> None:
        file.write_bytes(content)
        try:
            rows = list(read_ag_news_csv(file))
        except DataError as error:
            assert str(file) in str(error)
            assert ", line " in str(error) or "empty file" in str(error)
        else:
            assert [row.row for row in rows] == list(range(len(rows)))
            assert {row.label for row in rows} <= {0, 1, 2, 3}
            assert all(isinstance(row.text, str) for row in rows)

    fuzz(TEXT_FILES, lambda content: in_proportion(content, lambda: check(content)), count)


@counts
@pytest.mark.parametrize("suffix", [".txt", *TABLES])
def test_documents(count: int, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"file{suffix}"
    column = None if suffix == ".txt" else "text"

    def check(content: bytes) -> None:
        file.write_bytes(content)
        try:
            documents = list(read_documents(file, column))
        except (DataError, ConfigError) as error:
            assert str(file) in str(error)
        else:
            assert all(isinstance(document, str) for document in documents)
            "".join(documents).encode()

    fuzz(TEXT_FILES, check, count)


TOKENIZER = WordTokenizer.train(["the bank raised its rates , it 's said ."], 1, None)
TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=30).map(
        lambda pieces: b"".join(pieces).decode(errors="replace")
    ),
)


@counts
def test_cleaning_and_tokenizing(count: int) -> None:
    def check(text: str) -> None:
        cleaned = clean(text)
        assert clean(cleaned) == cleaned
        assert "\n" not in cleaned
        (found,) = TOKENIZER.encode([cleaned])
        assert found.ids[0] == BOS
        assert found.ids[-1] == EOS
        assert len(found.ids) == len(found.words) + 2
        assert PAD not in found.ids
        (ids,) = TOKENIZER.encode_ids([cleaned])
        assert ids.tolist() == found.ids.tolist()

    fuzz(TEXTS, check, count)


@pytest.mark.parametrize("size", [300_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "unit", ["&amp;", "amp;", "&#38;#38;", "<a ", "<a b=", "\\", "#39;", " ", "1,", "a.", "\ufdfa"]
)
def test_a_text_made_to_take_forever(unit: str, size: int) -> None:
    """No rule and no pattern takes time with the square of a length; a field may be that large."""
    text = unit * (size // len(unit.encode()))
    for whole in (text, "&" + text, text + ">" * 1000):
        began = time.monotonic()
        TOKENIZER.encode([clean(whole)])
        assert time.monotonic() - began < 60  # not forever


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@counts
def test_tokenizers(count: int) -> None:
    """A changed JSON is refused, or it is a tokenizer that works."""
    content = TOKENIZER.json.encode()

    def check(change: tuple[int, bytes]) -> None:
        place, new = change
        text = (content[:place] + new + content[place + len(new) :]).decode(errors="replace")
        try:
            tokenizer = WordTokenizer(text)
        except ArtifactError:
            return
        tokenizer.encode(["the bank raised"])
        assert len(tokenizer.words) == len(TOKENIZER.words)

    places = st.integers(0, len(content))
    fuzz(st.tuples(places, st.one_of(st.binary(max_size=4), WORDS.map(str.encode))), check, count)


def changes(size: int) -> st.SearchStrategy[tuple[int, int, bytes]]:
    """Where a file is changed, how many bytes go, and what comes in their place."""
    return st.tuples(st.integers(0, size), st.integers(0, 40), st.binary(max_size=40))


@pytest.mark.parametrize("kind", ["bilstm.pt", "classifier.pt", "last.ckpt"])
@counts
def test_artifacts(
    count: int, kind: str, pretrained: Path, classified: Path, tmp_path: Path
) -> None:
    """A changed file is refused, or the change was in bytes that mean nothing."""
    run = latest_run(pretrained, "toy")
    readers: dict[str, tuple[Callable[[Path], Any], Path]] = {
        "bilstm.pt": (load_bilm, run / "bilstm.pt"),
        "classifier.pt": (load_classifier, classified / "classifier.pt"),
        "last.ckpt": (read_checkpoint, run / "checkpoints/last.ckpt"),
    }
    load, original = readers[kind]
    content, expected = original.read_bytes(), tensors(load(original))
    file = tmp_path / kind

    def check(change: tuple[int, int, bytes]) -> None:
        place, less, more = change
        file.write_bytes(content[:place] + more + content[place + less :])
        try:
            found = tensors(load(file))
        except ArtifactError as error:
            assert str(file) in str(error)
            return
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())

    fuzz(changes(len(content)), check, count)


def tensors(loaded: Any) -> dict[str, torch.Tensor]:
    return loaded["state_dict"] if isinstance(loaded, dict) else loaded.state_dict()


VECTORS = b"3 2\nbank 0.5 1\nriver -1 2e3\ncaf\xc3\xa9 0 0\n"
NUMBERS = (
    b"nan",
    b"inf",
    b"1e999",
    b"999999999999",
    b"-1",
    b"0 0\n",
    b"bank",
    b" ",
    b"\n",
    b"\xff",
)


@counts
@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "v.bin", "v.kv"])
def test_word_vectors(count: int, name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    original = KeyedVectors(2)
    original.add_vectors(["bank", "river"], [[0.5, 1], [-1, 2]])
    if name == "v.kv":
        original.save(str(file))
    elif name == "v.bin":
        original.save_word2vec_format(str(file), binary=True)
    else:
        file.write_bytes(gzip.compress(VECTORS) if name.endswith("gz") else VECTORS)
    content = file.read_bytes()
    read_vectors(file)

    def check(change: tuple[int, int, bytes]) -> None:
        place, less, more = change
        changed = content[:place] + more + content[place + less :]
        file.write_bytes(changed)
        try:
            vectors = read_vectors(file)
        except DataError as error:
            assert str(file) in str(error)
            return
        assert vectors.vectors.nbytes < 100 * len(changed) + 2**16
        assert len(vectors) > 0

    new = st.one_of(st.binary(max_size=20), st.sampled_from(NUMBERS))
    places = st.integers(0, len(content))
    fuzz(st.tuples(places, st.integers(0, 20), new), check, count)


def test_vectors_that_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    file = tmp_path / "v.kv"
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"it names posix\.mkdir, which could run code"):
        read_vectors(file)
    # gensim itself believes what lies beside its file.
    vectors = KeyedVectors(2)
    vectors.add_vectors(["bank"], [[1, 2]])
    setattr(vectors, "__scipys", ["part"])
    file.write_bytes(pickle.dumps(vectors))
    (tmp_path / "v.kv.part.npy").write_bytes(pickle.dumps(Trap()))
    assert read_vectors(file).index_to_key == ["bank"]
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_that_asks_for_forty_gigabytes(tmp_path: Path) -> None:
    file = tmp_path / "v.kv"
    file.write_bytes(pickle.BYTEARRAY8 + (40 * 10**9).to_bytes(8, "little") + b".")
    began = time.monotonic()
    with pytest.raises(DataError, match="not readable as word vectors"):
        read_vectors(file)
    assert time.monotonic() - began < 5


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    for name in ("v.bin", "v.txt", "v.txt.gz"):
        for header in (b"1000000000 300", b"1000000000 1", b"1000000000 0"):
            content = header + b"\nbank 1 2\n"
            file = tmp_path / name
            file.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
            with pytest.raises(DataError, match="too small for 1000000000 vectors"):
                read_vectors(file)


def test_a_field_of_ten_megabytes(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    text = "Wörter und mehr, " * 600_000
    file.write_text(f'"1","title","{text}"\r\n', encoding="utf-8")
    (row,) = read_ag_news_csv(file)
    assert row.text == text
    shutil.copy(file, tmp_path / "file.txt")
    assert len(next(iter(read_documents(tmp_path / "file.txt", None)))) > 10_000_000
