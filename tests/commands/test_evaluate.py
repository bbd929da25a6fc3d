from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from elmo.commands.evaluate import main
from elmo.data.text import UNK
from elmo.errors import ArtifactError, ConfigError, DataError, MissingModelError
from elmo.models.language_model import load_language_model
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record

TEXTS = ["The bank raised its rates.", "", "A zyzzyva won the race in a storm.", "the the"]


@pytest.fixture
def run(pretrained: Path) -> Path:
    return latest_run(pretrained, "toy")


def test_repeats_the_figures_of_the_run(run: Path, cache_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "again"
    main([str(run), "--device", "cpu", "--cache-dir", str(cache_dir), "-o", str(output)])
    again, before = read_record(output), read_record(run)
    assert again["metrics"] == pytest.approx(before["metrics"], rel=1e-6)
    assert again["splits"] == before["splits"]
    assert again["data"] == before["data"]
    for kind in ("tables", "figures"):
        names = [{file.name for file in (folder / kind).iterdir()} for folder in (output, run)]
        assert names[0] == names[1] - {"curves.csv"} != set()  # those are of the training


def test_the_latest_run_is_the_default(
    pretrained: Path, run: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        ["--output-dir", str(pretrained), "--cache-dir", str(cache_dir), "--data", "test_rows=150"]
    )
    out, err = capsys.readouterr()
    assert f"model: {run}" in err
    assert "perplexity" in out


def test_other_settings_of_the_corpus(run: Path, cache_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "other"
    changed = ["--data", "seed=5", "test_rows=100"]
    main([str(run), "--cache-dir", str(cache_dir), *changed, "-o", str(output)])
    data, before = read_record(output)["data"], read_record(run)["data"]
    assert data["test_rows"] == 100
    assert data["fingerprint"] != before["fingerprint"]
    assert data["tokenizer"] == before["tokenizer"]  # the model's own, whatever the corpus


def test_a_file_against_a_count_by_hand(run: Path, tmp_path: Path) -> None:
    file, output = tmp_path / "news.txt", tmp_path / "out"
    file.write_text("\n".join(TEXTS) + "\n")
    main([str(run), "--file", str(file), "--device", "cpu", "-o", str(output)])
    model = load_language_model(run)
    tokenizer = model.tokenizer
    sums, hits, targets, unknown, words = [0.0, 0.0], 0, 0, 0, 0
    with torch.no_grad():
        for document in tokenizer.encode([text.lower() for text in TEXTS if text]):
            ids = torch.from_numpy(document.ids).long().unsqueeze(0)
            hidden, expected = model.hidden_and_targets(ids, torch.tensor([ids.shape[1]]))
            log_prob = model.softmax.log_prob(hidden.flatten(0, 1)).view(*expected.shape, -1)
            for direction in range(2):
                found = log_prob[direction].gather(1, expected[direction, :, None])
                sums[direction] -= found.sum().item()
            hits += int((log_prob.argmax(-1) == expected).sum())
            targets += expected.shape[1]
            unknown += int((document.ids == UNK).sum())
            words += len(document.words)
    record = read_record(output)
    metrics = record["metrics"]
    assert metrics["file/perplexity_forward"] == pytest.approx(math.exp(sums[0] / targets), 1e-4)
    assert metrics["file/perplexity_backward"] == pytest.approx(math.exp(sums[1] / targets), 1e-4)
    assert metrics["file/accuracy"] == pytest.approx(hits / (2 * targets))
    assert record["data"]["rows"] == 3
    assert record["data"]["unknown_rate"]["file"] == pytest.approx(unknown / words)


def test_a_column_of_a_table(run: Path, tmp_path: Path) -> None:
    plain, table = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("\n".join(TEXTS) + "\n")
    table.write_text("".join(json.dumps({"body": text, "id": 1}) + "\n" for text in TEXTS))
    for file, column in ((plain, []), (table, ["--column", "body"])):
        main([str(run), "--file", str(file), *column, "-o", str(tmp_path / file.suffix[1:])])
    one, other = (read_record(tmp_path / name)["metrics"] for name in ("txt", "jsonl"))
    assert one == other


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--data", "nonsense"], ConfigError, "--data nonsense: expected KEY=VALUE"),
        (["--data", "unheard_of=1"], ConfigError, "unheard_of"),
        (["--data", "seed=1", "--file", "x"], ConfigError, "--file replaces"),
        (["--column", "x"], ConfigError, "--column x names a column of --file"),
        (["--file", "missing.txt"], DataError, "missing.txt"),
        (["--model", "other.pt"], ConfigError, "name one of them"),
        (["--device", "abacus"], ConfigError, "--device abacus is not available on this machine"),
    ],
)
def test_mistakes(
    run: Path, cache_dir: Path, arguments: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        main([str(run), "--cache-dir", str(cache_dir), *arguments])


def test_the_folder_is_made_before_the_work(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ConfigError, match="the folder cannot be made"):
        main([str(run), "-o", str(tmp_path / "file" / "folder")])


@pytest.mark.parametrize("change", ["classifier", "no datamodule"])
def test_a_record_of_something_else(
    run: Path, classified: Path, cache_dir: Path, tmp_path: Path, change: str
) -> None:
    shutil.copy(run / "bilstm.pt", tmp_path)
    record = read_record(classified if change == "classifier" else run)
    if change == "no datamodule":
        del record["settings"]["datamodule"]
    (tmp_path / "metrics.json").write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match="no record of a pretraining"):
        main([str(tmp_path), "--cache-dir", str(cache_dir)])


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept")
    with pytest.raises(ConfigError, match=f"{tmp_path}: exists already"):
        main([str(run), "-o", str(tmp_path)])


def test_a_file_without_words(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(DataError, match=r"empty\.txt: contains no words"):
        main([str(run), "--file", str(tmp_path / "empty.txt")])


def test_without_a_model_or_its_record(run: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r"no biLM was trained yet; run `python train_lm"):
        main(["--output-dir", str(tmp_path)])
    shutil.copy(run / "bilstm.pt", tmp_path)
    with pytest.raises(ArtifactError, match=r"metrics\.json: no such file.*--file FILE"):
        main([str(tmp_path)])
