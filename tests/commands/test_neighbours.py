from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from elmo.commands.neighbours import in_context, main
from elmo.data.corpora.toy import ToyNews
from elmo.errors import ElmoError
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.utils.files import write_json


@pytest.mark.parametrize("width", [5, 20, 21, 40, 200])
@pytest.mark.parametrize("position", [0, 4, 9])
def test_a_context_is_cut_to_a_width(width: int, position: int) -> None:
    tokens = ["After", "the", "shares", "of", "Transdex", "tumbled", ",", "the", "fans", "sang"]
    shown = in_context(tokens, position, width).split()
    word = f"[{tokens[position]}]"
    assert word in shown
    assert len(" ".join(shown)) <= max(width, len(word))
    start = position - shown.index(word)
    assert [item.strip("[]") for item in shown] == tokens[start : start + len(shown)]
    if width == 200:
        assert len(shown) == len(tokens)


@pytest.fixture
def command(pretrained: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `elmo neighbours` on the toy biLM; return its standard output and standard error."""

    def run(sentence: str, *options: str) -> tuple[str, str]:
        folders = ["--output-dir", str(pretrained), "--cache-dir", str(cache_dir)]
        capsys.readouterr()
        main([sentence, *folders, "--device", "cpu", *options])
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run


SENTENCE = "Shares of the [bank] rose after the merger."


def test_the_validation_split_of_the_models_corpus(command: Any, toy: ToyNews) -> None:
    printed, told = command(SENTENCE, "--format", "jsonl", "--count", "4")
    split = toy.splits["validation"]
    texts = dict(zip(split["row"], split["text"], strict=True))
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [(line["layer"], line["rank"]) for line in lines] == [
        (layer, rank) for layer in (0, 1, 2) for rank in (1, 2, 3, 4)
    ]
    for line in lines:
        found = toy.tokenizer.encode([texts[line["row"]]])[0].words
        assert line["tokens"] == found
        word = found[line["position"]]
        assert line["word"] == (word.lower() if line["layer"] == 0 else word)
        assert -1 <= line["cosine"] <= 1
    tokens = sum(len(document.words) for document in toy.tokenizer.encode(list(texts.values())))
    assert f"searched 200 documents, {tokens:,} tokens: validation split of data=toy" in told
    assert "model: " in told


def test_a_file_is_searched_by_line(command: Any, tmp_path: Path) -> None:
    lines = ["Rain fell .", "The bank rose .", "Shares of the bank rose after the merger .", "End"]
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(lines))
    for rows, expected in (("4", {1, 2, 4}), ("2", {1, 2})):
        options = ("--file", str(file), "--rows", rows, "--format", "jsonl")
        printed, told = command(SENTENCE.replace(".", " ."), *options)
        found = [json.loads(line) for line in printed.splitlines()]
        assert {line["row"] for line in found if line["layer"] == 1} == expected
        for line in found:
            assert " ".join(line["tokens"]) == lines[line["row"] - 1]
        assert f"searched {rows} documents" in told
        assert str(file) in told


def test_a_column_of_a_file(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text('id,story\n7,"The bank rose ."\n8,"Rain fell ."\n')
    options = ("--file", str(file), "--column", "story", "--format", "jsonl")
    printed, _ = command(SENTENCE, *options)
    found = [json.loads(line) for line in printed.splitlines()]
    top = {" ".join(line["tokens"]) for line in found if line["layer"] == 1}
    assert top == {"The bank rose .", "Rain fell ."}


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits(command: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    printed, _ = command(SENTENCE, "--count", "3")
    lines = printed.splitlines()
    assert SENTENCE in lines[0]
    assert max(map(len, lines)) <= width
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")
    ]
    assert [row[0] for row in rows] == ["0", "", "", "1", "", "", "2", "", ""]  # no line wrapped
    assert [row[1] for row in rows] == ["1", "2", "3"] * 3
    assert all(row[3] == "" and "[" not in row[4] for row in rows[:3])
    assert all(row[3].isdigit() and row[4].count("[") == 1 for row in rows[3:])


def test_an_unknown_word_is_reported(command: Any) -> None:
    _, told = command("The bank of the river was [unheardof]")
    assert "'unheardof' is not in the vocabulary: its layer 0 is the vector of <unk>" in told
    assert "vocabulary" not in command(SENTENCE)[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["the bank"], "expected one word in brackets"),
        ([SENTENCE, "--count", "0"], "--count is 0; expected 1 or more"),
        ([SENTENCE, "--rows", "-1"], "--rows is -1; expected 1 or more"),
        ([SENTENCE, "--column", "text"], "--column text names a column of --file"),
        ([SENTENCE, "--model", "nowhere.pt"], r"nowhere\.pt: no such file"),
        ([SENTENCE, "--output-dir", "nowhere"], r"nowhere/latest: no biLM was trained yet"),
        ([SENTENCE, "--file", "nowhere.txt"], r"nowhere\.txt"),
        ([SENTENCE, "--device", "abacus"], "--device abacus"),
    ],
)
def test_mistakes_end_in_one_line(command: Any, options: list[str], message: str) -> None:
    with pytest.raises(ElmoError, match=message) as caught:
        command(*options)
    assert "\n" not in str(caught.value)


def test_without_its_corpus_a_model_still_searches_a_file(
    command: Any, pretrained: Path, tmp_path: Path
) -> None:
    """Where the record or the files of its corpus are gone, the error names --file."""
    run = latest_run(pretrained, "toy")
    shutil.copy(run / "bilstm.pt", tmp_path)
    with pytest.raises(ElmoError, match=r"metrics\.json: no such file.*--file FILE"):
        command(SENTENCE, "--model", str(tmp_path))
    record = read_record(run)
    data = record["settings"]["data"]
    for name in ("rows", "test_rows", "seed"):
        del data[name]
    data |= {"_target_": "elmo.data.corpora.ag_news.AgNews", "dir": str(tmp_path / "gone")}
    write_json(tmp_path / "metrics.json", record)
    with pytest.raises(ElmoError, match=r"gone/train\.csv: no such file; .*--file FILE") as caught:
        command(SENTENCE, "--model", str(tmp_path / "bilstm.pt"))
    assert "data.dir" not in str(caught.value)
    file = tmp_path / "texts.txt"
    file.write_text("The bank rose .\n")
    assert "[bank]" in command(SENTENCE, "--model", str(tmp_path), "--file", str(file))[0]


def test_an_empty_file(command: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ElmoError, match=r"empty\.txt"):
        command(SENTENCE, "--file", str(tmp_path / "empty.txt"))
