from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.test_corpus import Row, news, texts
from elmo.data.corpora.ag_news import AgNews, read_ag_news_csv
from elmo.data.corpus import Corpus
from elmo.data.text import WordTokenizer
from elmo.errors import ConfigError, DataError
from small_corpora import TEST_CSV, ag_news, content, csv_of


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


def test_titles_before_descriptions(source: Path, tmp_path: Path) -> None:
    plain, titled = ag_news(source, tmp_path), ag_news(source, tmp_path, title=True)
    row = titled.splits["train"][0]
    assert row["text"] == f"title {row['row']} train story {row['row']}"
    assert titled.fingerprint != plain.fingerprint
    assert (plain.name, titled.name) == ("ag_news", "ag_news_titles")


def test_another_number_of_train_rows_gives_a_warning(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = ag_news(source, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert corpus.facts["train_rows_in_source"] == 60
    (warning,) = [record for record in caplog.records if record.name == "elmo.data.corpora.ag_news"]
    assert "60" in warning.getMessage()
    assert "120,000" in warning.getMessage()


# Damaged content of train.csv, the line of the error and a part of its message.
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
    "NUL": (GOOD + b'"3","t\0","d"\n', 4, "NUL"),
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
def test_malformed_rows_come_with_solutions(case: str, source: Path, tmp_path: Path) -> None:
    (source / "train.csv").write_bytes(MALFORMED[case][0] if case != "empty" else b"")
    with pytest.raises(DataError, match=r"data\.dir=.*AG_NEWS_DIR.*data=toy"):
        list(ag_news(source, tmp_path).read("train"))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("damage", ["empty file", "no such file"])
def test_an_empty_or_missing_file(damage: str, split: str, source: Path, tmp_path: Path) -> None:
    file = source / f"{split}.csv"
    if damage == "empty file":
        file.write_bytes(b"")
    else:
        file.unlink()
    with pytest.raises(DataError) as caught:
        _ = ag_news(source, tmp_path).splits
    assert f"{file}: {damage}" in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_file_comes_with_solutions(split: str, source: Path, tmp_path: Path) -> None:
    (source / f"{split}.csv").unlink()
    with pytest.raises(DataError, match=r"data\.dir=.*AG_NEWS_DIR.*data=toy"):
        _ = ag_news(source, tmp_path).fingerprint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/nowhere.*data\.dir=.*AG_NEWS_DIR.*data=toy"):
        _ = ag_news(tmp_path / "nowhere", tmp_path).fingerprint


@pytest.mark.parametrize("rows", [7599, 7601])
def test_the_test_split_has_to_be_complete(rows: int, source: Path, tmp_path: Path) -> None:
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
    """Write a file and return the texts that are read from it."""
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
def test_fields_are_unchanged(
    field: bytes, text: str, start: bytes, end: bytes, tmp_path: Path
) -> None:
    data = start + b'"1","t",' + field + end + b'"2","t","next"' + end
    assert descriptions(data, tmp_path) == [text, "next"]


WITHOUT_NUL = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(WITHOUT_NUL), st.integers(0, 3)), min_size=1))
def test_any_text_is_read_back(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        file.write_bytes(csv_of(rows))
        read = list(read_ag_news_csv(file))
    assert read == [(number, text, label) for number, (text, label) in enumerate(rows)]


@settings(deadline=None)
@given(st.lists(st.text(alphabet='a"\n,'), max_size=8))
def test_errors_count_lines_as_an_editor_does(before: list[str]) -> None:
    good = csv_of([(text, 0) for text in before])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        file.write_bytes(good + b'"5","t","d"\n')
        with pytest.raises(DataError, match=rf"rows\.csv, line {good.count(10) + 1}:"):
            list(read_ag_news_csv(file))


def test_rows_are_cleaned_and_not_tokenized(source: Path, tmp_path: Path) -> None:
    odd = "AP - It #39;s &lt;b&gt;NA&lt;/b&gt;,\\said  so"
    (source / "train.csv").write_bytes(csv_of([*news(30), (odd, 0)]))
    corpus = ag_news(source, tmp_path)
    both = texts(corpus, "train") + texts(corpus, "validation")
    assert "AP - It's NA , said so" in both


def test_the_split_depends_on_split_seed_only(source: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(source, tmp_path / "elsewhere")
    rows = []
    for seed, arguments in enumerate([{"min_count": 1}, {"min_count": 3, "max_vocabulary": 9}]):
        np.random.seed(seed)
        rows.append(content(ag_news(elsewhere, tmp_path / str(seed), **arguments)))
    assert rows[0] == rows[1] == content(ag_news(source, tmp_path / "2"))
    other = content(ag_news(source, tmp_path / "2", split_seed=1))
    assert other["validation"] != rows[0]["validation"]
    assert other["test"] == rows[0]["test"]


def test_the_second_start_uses_the_cache(
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


AGENCIES = ("AP - {}", "NEW YORK (Reuters) - {}", "{}", "Canadian Press - OSLO (CP) - {}")


@pytest.fixture
def wires(tmp_path: Path) -> Path:
    """AG News in which every fourth row is from the same agency."""
    folder = tmp_path / "wires"
    folder.mkdir()
    for split, count in (("train", 80), ("test", 7600)):
        rows = [
            (AGENCIES[number % 4].format(text), label)
            for number, (text, label) in enumerate(news(count, split))
        ]
        (folder / f"{split}.csv").write_bytes(csv_of(rows))
    return folder


def test_an_agency_that_is_held_out_is_in_the_test_split_alone(wires: Path, tmp_path: Path) -> None:
    corpus = ag_news(wires, tmp_path, hold_out="Reuters")
    for split in ("train", "validation"):
        assert texts(corpus, split)
        assert not any("Reuters" in text for text in texts(corpus, split))
    assert not any("reuters" in word for word in corpus.tokenizer.words)
    held_out = corpus.splits["test"]
    assert all("(Reuters)" in text for text in held_out["text"])
    assert len(held_out) == 7600 // 4 + 80 // 4
    for row in held_out:  # the rows of train.csv are numbered after those of test.csv
        number = row["row"]
        split, place = ("test", number) if number < 7600 else ("train", number - 7600)
        assert row["text"].endswith(f"{split} story {place}")
        assert row["label"] == place % 4
    assert len(corpus.splits["train"]) + len(corpus.splits["validation"]) == 60
    assert corpus.facts["train_rows_in_source"] == 60
    assert corpus.facts["train_rows_also_in_test"] == 0


def test_the_names_of_agencies_are_removed(wires: Path, tmp_path: Path) -> None:
    corpus = ag_news(wires, tmp_path, strip_source=True)
    joined = " ".join(text for split in corpus.splits for text in texts(corpus, split))
    assert not any(name in joined for name in ("AP", "Reuters", "CP", "Canadian"))
    assert "NEW YORK - test story 1" in texts(corpus, "test")


def test_each_hold_out_is_another_corpus(wires: Path, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"hold_out": "AP"},
        {"hold_out": "Reuters"},
        {"hold_out": "AP", "strip_source": True},
        {"strip_source": True},
        {"hold_out": "AP", "validation_blocks": 2},
    ]
    corpora = [ag_news(wires, tmp_path, **change) for change in changes]
    assert len({corpus.fingerprint for corpus in corpora}) == len(corpora)
    assert len({corpus.variant for corpus in corpora}) == len(corpora)
    again = ag_news(wires, tmp_path, hold_out="AP")
    assert again.fingerprint == corpora[1].fingerprint
    assert content(again) == content(corpora[1]) != content(corpora[2])


def test_an_unknown_agency_is_refused_with_those_that_there_are(
    wires: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        _ = ag_news(wires, tmp_path, hold_out="Associated Press").splits
    message = str(caught.value)
    assert "data.hold_out is 'Associated Press'" in message
    assert "AP (1,920), Reuters (1,920), Canadian Press (1,920)" in message
    assert "\n" not in message


@pytest.mark.parametrize("change", [{"hold_out": "AP"}, {"strip_source": True}])
def test_agencies_are_not_sought_in_titles(
    change: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"data.title is true"):
        ag_news(source, tmp_path, title=True, **change)
