"""Corpora of users: text files and tables, alone and through the scripts."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import gensim
import pytest

from conftest import TINY, Script
from elmo.data.corpora.files import TableFiles, TextFiles
from elmo.errors import ConfigError, DataError, ElmoError
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from small_corpora import texts

LEE = Path(gensim.__file__).parent / "test" / "test_data" / "lee_background.cor"
RULES: dict[str, Any] = {
    "test_files": None,
    "test_share": 0.1,
    "split_seed": 0,
    "validation_size": 0.1,
    "min_count": 1,
    "max_vocabulary": None,
}


def text_files(folder: Path, **arguments: Any) -> TextFiles:
    """Return a corpus of text files with a cache in `folder`."""
    rules = {**RULES, "name": "mine", "text_column": None, "cache_dir": str(folder / "cache")}
    return TextFiles(**{**rules, **arguments})


def tables(folder: Path, **arguments: Any) -> TableFiles:
    """Return a corpus of tables with a cache in `folder`."""
    columns = {"text_column": "review", "label_column": "stars"}
    rules = {**RULES, "name": "reviews", **columns, "cache_dir": str(folder / "cache")}
    return TableFiles(**{**rules, **arguments})


def reviews(file: Path, count: int = 120, stars: tuple[object, ...] = (1, 2, 10)) -> Path:
    """Write a table in which a word shows the class."""
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["title", "review", "stars"])
        for number in range(count):
            star = stars[number % len(stars)]
            writer.writerow([f"Title {number}", f"word{star} of review {number}", star])
    return file


def every_text(corpus: TextFiles | TableFiles) -> list[str]:
    """Return the texts of all splits."""
    return [text for split in ("train", "validation", "test") for text in texts(corpus, split)]


def test_text_of_several_files_and_globs(tmp_path: Path) -> None:
    lines = [f"document number {number}" for number in range(200)]
    (tmp_path / "a.txt").write_text("\n".join(lines[:50]))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b.txt.gz").write_bytes(
        gzip.compress("\n".join(lines[50:120]).encode())
    )
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"t": x}) + "\n" for x in lines[120:]))
    files = [f"{tmp_path}/a.txt", f"{tmp_path}/**/*.gz", f"{tmp_path}/a.*"]
    corpus = text_files(tmp_path, files=files)
    assert sorted(every_text(corpus)) == sorted(lines[:120])
    assert 0 < len(corpus.splits["test"]) < 30
    assert corpus.class_names == ("document",)
    corpus = text_files(tmp_path, files=f"{tmp_path}/c.jsonl", text_column="t")
    assert sorted(every_text(corpus)) == sorted(lines[120:])


def test_drawn_test_documents_stay_when_documents_are_added(tmp_path: Path) -> None:
    lines = [f"document number {number}" for number in range(300)]
    file = tmp_path / "a.txt"
    file.write_text("\n".join(lines[:200]))
    before = text_files(tmp_path, files=str(file))
    small = set(texts(before, "test"))
    file.write_text("\n".join([*lines[:200], " document  NUMBER 7", *lines[200:]]))
    after = text_files(tmp_path, files=str(file))
    assert before.fingerprint != after.fingerprint
    large = set(texts(after, "test"))
    assert {text for text in large if text in lines[:200]} == small
    assert after.facts["train_rows_also_in_test"] == 0
    other = text_files(tmp_path, files=str(file), split_seed=1)
    assert set(texts(other, "test")) != large


def test_test_files_are_the_test_split(tmp_path: Path) -> None:
    train, test = reviews(tmp_path / "train.csv"), reviews(tmp_path / "test.csv", 6)
    corpus = tables(tmp_path, files=str(train), test_files=str(test))
    assert len(corpus.splits["test"]) == 6
    assert corpus.facts["train_rows_also_in_test"] == 6


def test_classes_are_read_from_the_data(tmp_path: Path) -> None:
    numbers = tables(tmp_path, files=str(reviews(tmp_path / "a.csv")))
    assert numbers.class_names == ("1", "2", "10")  # by size
    names = ("good", "bad", "Ugly")
    corpus = tables(tmp_path, files=str(reviews(tmp_path / "b.csv", stars=names)))
    assert corpus.class_names == ("Ugly", "bad", "good")
    for row in corpus.splits["train"]:
        assert row["text"].startswith(f"word{corpus.class_names[row['label']]} ")
    assert corpus.splits["train"].features["label"].names == list(corpus.class_names)


def test_columns_are_joined(tmp_path: Path) -> None:
    file = str(reviews(tmp_path / "a.csv"))
    corpus = tables(tmp_path, files=file, text_column=["title", "review"])
    assert "Title 0 word1 of review 0" in every_text(corpus)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"files": None}, "data.files is not set"),
        ({"files": "nowhere/*.csv"}, r"data.files: nowhere/\*.csv: no such file"),
        ({"test_files": "nowhere.csv"}, "data.test_files: nowhere.csv: no such file"),
        ({"files": "."}, r"data.files: \.: a folder; expected a file, or a glob such as \./\*"),
        (
            {"label_column": None},
            "with the classes is not set; set data.label_column to one of: title",
        ),
        ({"text_column": "text"}, "no column 'text'; set data.text_column to one of: title, rev"),
        ({"label_column": "review"}, "more than 1,000 classes.*expected a column of classes"),
        ({"files": "plain"}, "plain text has no classes"),
        ({"test_share": 1.0}, "data.test_share is 1.0"),
        ({"name": "a/b"}, "data.name is 'a/b'"),
        ({"test_files": "others"}, "row 0 of the test split has the class '7', which no train row"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    reviews(Path("a.csv"), 1200)
    Path("plain.txt").write_text("one\n")
    reviews(Path("others.csv"), 3, stars=(7,))
    names = {"plain": "plain.txt", "others": "others.csv"}
    arguments = {key: names.get(value, value) for key, value in arguments.items()}
    with pytest.raises(ElmoError, match=message) as caught:
        _ = tables(tmp_path, **{"files": "a.csv", **arguments}).splits
    assert isinstance(caught.value, ConfigError | DataError)


def test_text_has_no_classes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with pytest.raises(ConfigError, match=r"data=mine has one class, .*data=table"):
        text_files(tmp_path, files=f"{tmp_path}/a.txt").check_classes()


# `TINY` without its corpus.
SMALL = [item for item in TINY if not item.startswith("data")]


@pytest.mark.slow
def test_pretraining_on_the_news_of_gensim(script: Script, tmp_path: Path) -> None:
    data = ["data=text", "data.name=lee", f"data.files={LEE}", "data.min_count=2"]
    tiny = ["embedding.dim=16", "bilm.hidden_dim=16", "softmax=full"]
    script("train_lm", *data, *SMALL, *tiny, output_dir=tmp_path)
    run = latest_run(tmp_path, "lee")
    record = read_record(run)
    documents = sum(record["data"][f"{split}_rows"] for split in ("train", "validation", "test"))
    assert documents + record["data"]["train_rows_also_in_test"] == 300
    assert 1 < record["metrics"]["test/perplexity"] < record["data"]["vocabulary_size"]


def test_a_table_with_other_classes_through_both_jobs(script: Script, tmp_path: Path) -> None:
    file = reviews(tmp_path / "reviews.csv", 600, stars=("red", "blue"))
    data = ["data=table", f"data.files={file}", "data.text_column=review"]
    data += ["data.label_column=stars", "data.min_count=1", "data.validation_size=60"]
    tiny = ["embedding.dim=16", "bilm.hidden_dim=16", "softmax=full", "head.hidden_dim=16"]
    script("train_lm", *data, *SMALL, *tiny[:3], output_dir=tmp_path)
    learn = ["optimizer.lr=0.02", "trainer.max_epochs=3", "datamodule.token_budget=512"]
    script("train_cls", *data, *SMALL, tiny[3], *learn, output_dir=tmp_path)
    run = latest_run(tmp_path, "table", "classifier")
    assert read_record(run)["metrics"]["test/accuracy"] > 0.9
    lines = (run / "tables" / "confusion_test.csv").read_text().splitlines()
    assert "blue" in lines[0]
    assert "red" in lines[0]
