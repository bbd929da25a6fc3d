from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import error_line
from elmo.commands import base, predict
from elmo.commands.predict import main
from elmo.inference.explanation import explain
from elmo.models.classifier import TextClassifier, load_classifier
from elmo.runs.latest import latest_of_all, released_run, title_of

TEXTS = [
    "The bank raised its rates, and [shares] fell.",
    "",
    'A long one about "the striker", who scored twice in the match on Sunday.',
    "zzz",
]


@pytest.fixture(scope="module")
def model(classified: Path) -> TextClassifier:
    return load_classifier(classified)


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("origin", ["arguments", "stdin", "file"])
def test_jsonl_is_what_predict_says(
    classified: Path,
    model: TextClassifier,
    origin: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(predict, "BLOCK", 3)
    lines = "\n".join(TEXTS)
    stdin(monkeypatch, lines.replace("\n", "\r\n").encode("utf-8-sig"))
    (tmp_path / "some.txt").write_text(lines)
    given = {"arguments": TEXTS, "stdin": ["-"], "file": ["--file", str(tmp_path / "some.txt")]}
    main([*given[origin], "--model", str(classified), "--format", "jsonl"])
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["text"] for line in found] == TEXTS
    for line, (label, probabilities) in zip(found, model.predict(TEXTS), strict=True):
        assert set(line) == {"text", "label", "probabilities"}
        assert line["label"] == label == max(probabilities, key=probabilities.__getitem__)
        assert line["probabilities"] == pytest.approx(probabilities, abs=1e-5)
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    (said,) = printed.err.splitlines()
    assert re.fullmatch(
        rf"model: {classified} \(toy, validation accuracy [\d.]+, \d{{4}}-\d\d-\d\d\)", said
    )


def test_csv(classified: Path, model: TextClassifier, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [*TEXTS, "two\nlines\rand three"]
    main([*texts, "--model", str(classified), "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [row.pop("text") for row in rows] == texts
    predictions = model.predict(texts)
    assert [row.pop("label") for row in rows] == [prediction.label for prediction in predictions]
    for row, prediction in zip(rows, predictions, strict=True):
        found = {name: float(value) for name, value in row.items()}
        named = {f"p({name})": value for name, value in prediction.probabilities.items()}
        assert found == pytest.approx(named, abs=1e-5)


@pytest.mark.parametrize("columns", [100, 30])
def test_table(
    classified: Path,
    model: TextClassifier,
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    main([*TEXTS, "--output-dir", str(classified.parent), "--model", str(classified)])
    lines = capsys.readouterr().out.splitlines()
    assert {len(line) for line in lines} == {max(columns, 78)}  # texts are cut, figures never
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    header = [cell.strip() for cell in lines[1].split("┃")[1:-1]]
    assert header == ["text", "class", *model.class_names]
    for text, prediction, (shown, label, *figures) in zip(
        TEXTS, model.predict(TEXTS), rows, strict=True
    ):
        assert shown == text or (shown[-1] == "…" and text.startswith(shown[:-1]))
        assert label == prediction.label
        assert figures == [f"{value:.3f}" for value in prediction.probabilities.values()]
    assert rows[2][0].endswith("…")


def test_explanations_in_jsonl(
    classified: Path, model: TextClassifier, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*TEXTS, "--explain", "--model", str(classified), "--format", "jsonl"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for text, line in zip(TEXTS, found, strict=True):
        (label, probabilities), lambdas, words = explain(model, text)
        assert (line["text"], line["label"]) == (text, label)
        assert line["probabilities"] == pytest.approx(probabilities)
        assert line["lambdas"] == pytest.approx(lambdas)
        assert [(pair["word"], pair["effect"]) for pair in line["words"]] == words
    assert found[0]["lambdas"] != found[2]["lambdas"]
    assert found[1]["words"] == []


def test_explanations_below_the_texts_of_a_table(
    classified: Path,
    model: TextClassifier,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main([*TEXTS, "--explain", "--model", str(classified)])
    lines = capsys.readouterr().out.splitlines()
    rows = "\n".join(line.split("│")[1] if "│" in line else "" for line in lines).split("\n\n")
    for text, row in zip(TEXTS, rows[1:], strict=True):
        _, lambdas, words = explain(model, text)
        assert "layers " + " ".join(f"{value:.2f}" for value in lambdas) in row
        shown = re.findall(r"([+-]\d\.\d{3}) (\S+)", row)
        assert len(shown) == min(10, len(words))
        rest = [(f"{effect:+.3f}", word) for word, effect in words]
        for pair in shown:  # in the order of the text
            rest = rest[rest.index(pair) + 1 :]
        strongest = sorted((abs(effect) for _, effect in words), reverse=True)[:10]
        assert sorted((abs(float(effect)) for effect, _ in shown), reverse=True) == pytest.approx(
            strongest, abs=6e-4
        )


def test_a_pipe_without_end_is_answered_block_by_block(
    classified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "BLOCK", 4)
    read: list[int] = []
    written: list[str] = []
    flushed: list[tuple[int, int]] = []

    class Endless:
        @property
        def buffer(self) -> Iterator[bytes]:
            while len(read) < 1000:  # so that a failing test ends
                read.append(1)
                yield b"the bank\n"

    class Reader(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

        def flush(self) -> None:
            flushed.append((len(read), "".join(written).count("\n")))
            if len(flushed) == 3:
                raise BrokenPipeError

    monkeypatch.setattr(sys, "stdin", Endless())
    monkeypatch.setattr(sys, "stdout", Reader())
    with pytest.raises(BrokenPipeError):
        main(["-", "--model", str(classified), "--format", "jsonl"])
    assert flushed == [(4, 4), (8, 8), (12, 12)]


def test_the_latest_classifier_is_taken(
    classified: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["the bank", "--output-dir", str(classified.parent)])
    latest = latest_of_all(classified.parent, "classifier")
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"model: {latest} (toy, validation accuracy ")
    assert said.endswith("); --model released|latest|PATH chooses another")


def test_models_by_name(classified: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, path in (
        ("released", released_run("classifier")),
        ("latest", latest_of_all(classified.parent, "classifier")),
    ):
        main(["the bank", "--output-dir", str(classified.parent), "--model", name])
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith(f"model: {title_of(path)}")
        assert "chooses another" not in said


def test_a_text_that_is_a_file_is_pointed_out(
    classified: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my news.txt").write_text("the bank\n")
    options = ["--model", str(classified), "--format", "jsonl"]
    main(["my news.txt", "your news.txt", "x" * 5000, *options])
    printed = capsys.readouterr()
    said, _ = printed.err.splitlines()
    assert said == "'my news.txt' is a file; --file 'my news.txt' reads it"
    assert json.loads(printed.out.splitlines()[0])["text"] == "my news.txt"


def test_a_file_without_documents_is_said(
    classified: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").touch()
    main(["--file", str(tmp_path / "empty.txt"), "--model", str(classified)])
    _, said = capsys.readouterr().err.splitlines()
    assert said == "note: there are no documents"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "none is given"),
        (["text", "--file", "some.txt"], "both are given"),
        (["text", "--column", "text"], "--column text names a column of --file"),
        (["text", "--explain", "--format", "csv"], "use --format jsonl"),
        (["--file", "nowhere.txt"], "nowhere.txt"),
        (["-"], "standard input, line 2: not UTF-8"),
        (["text", "--model", "nowhere.pt"], "nowhere.pt: no such file"),
        (["text", "--output-dir", "nowhere", "--model", "latest"], "no classifier was trained yet"),
        (["text", "--output-dir", "nowhere"], "nowhere/latest: no classifier was trained yet"),
    ],
)
def test_mistakes_end_in_one_line(
    classified: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    stdin(monkeypatch, "fine\ncafé\n".encode("latin-1"))
    command = ["--output-dir", str(classified.parent), *arguments]
    assert message in error_line(lambda: main(command), capsys)


def test_what_came_before_a_damaged_line_is_answered(
    classified: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, b"the bank\n\xff\xfe\nthe river\n")
    with pytest.raises(SystemExit):
        base.run(lambda: main(["-", "--format", "jsonl", "--model", str(classified)]))
    printed = capsys.readouterr()
    assert [json.loads(line)["text"] for line in printed.out.splitlines()] == ["the bank"]
    assert "standard input, line 2: not UTF-8" in printed.err
