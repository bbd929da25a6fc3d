from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from elmo.errors import MissingModelError
from elmo.runs.latest import latest_of_all, latest_pointer, latest_run, update_latest
from elmo.utils.files import write_json, write_text


def pretrained(output_dir: Path, name: str, perplexity: Any, fingerprint: str = "a") -> Path:
    run_dir = output_dir / "train_lm" / name
    run_dir.mkdir(parents=True)
    (run_dir / "bilstm.pt").write_bytes(b"weights")
    write_json(
        run_dir / "metrics.json",
        {"metrics": {"val/perplexity": perplexity}, "data": {"fingerprint": fingerprint}},
    )
    return run_dir


def test_without_a_pretrained_model_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r"python train_lm\.py data=toy.*bilm_path="):
        latest_run(tmp_path, "toy")


@pytest.mark.parametrize("gone", ["train_lm/one", "train_lm", "train_lm/one/bilstm.pt"])
def test_a_run_that_is_gone_is_named_with_the_command(gone: str, tmp_path: Path) -> None:
    run_dir = pretrained(tmp_path, "one", 3.0)
    update_latest(tmp_path, "toy", run_dir, only_if_better=False)
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(MissingModelError, match=rf"{run_dir}.*python train_lm\.py data=toy"):
        latest_run(tmp_path, "toy")


@pytest.mark.parametrize("pointer", ["", "\n", "nonsense\n"])
def test_a_damaged_pointer_is_no_model(pointer: str, tmp_path: Path) -> None:
    write_text(latest_pointer(tmp_path, "toy"), pointer)
    with pytest.raises(MissingModelError, match=r"python train_lm\.py data=toy"):
        latest_run(tmp_path, "toy")


def test_a_pointer_that_is_no_text_is_no_model(tmp_path: Path) -> None:
    write_text(latest_pointer(tmp_path, "toy"), "")
    latest_pointer(tmp_path, "toy").write_bytes(b"\xff\xfe")
    with pytest.raises(MissingModelError, match=r"python train_lm\.py data=toy"):
        latest_run(tmp_path, "toy")


def test_the_pointer_follows_the_output_folder(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    update_latest(outputs, "toy", pretrained(outputs, "one", 3.0), only_if_better=False)
    outputs.rename(tmp_path / "moved")
    assert latest_run(tmp_path / "moved", "toy") == tmp_path / "moved" / "train_lm" / "one"


def test_a_run_outside_the_output_folder(tmp_path: Path) -> None:
    run_dir = pretrained(tmp_path / "elsewhere", "one", 3.0)
    update_latest(tmp_path / "outputs", "toy", run_dir, only_if_better=False)
    assert latest_run(tmp_path / "outputs", "toy") == run_dir


def test_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    update_latest(Path("outputs"), "toy", pretrained(Path("outputs"), "one", 3.0), False)
    assert latest_run(Path("outputs"), "toy") == Path("outputs/train_lm/one")
    outside = pretrained(Path("elsewhere"), "two", 3.0)
    update_latest(Path("outputs"), "toy", outside, False)
    monkeypatch.chdir("/")
    assert latest_run(tmp_path / "outputs", "toy").resolve() == (tmp_path / outside).resolve()


def test_each_corpus_has_its_pointer(tmp_path: Path) -> None:
    one, other = pretrained(tmp_path, "one", 3.0), pretrained(tmp_path, "other", 9.0)
    update_latest(tmp_path, "toy", one, only_if_better=True)
    update_latest(tmp_path, "ag_news", other, only_if_better=True)
    assert latest_run(tmp_path, "toy") == one
    assert latest_run(tmp_path, "ag_news") == other


NAN = float("nan")


@pytest.mark.parametrize(
    ("standing", "new", "moves"),
    [
        (3.0, 2.9, True),
        (3.0, 3.1, False),
        (3.0, 3.0, False),
        (3.0, float("inf"), False),
        (3.0, NAN, False),  # a job that diverged
        (NAN, 3.0, True),
    ],
)
def test_in_a_multirun_the_better_run_stands(
    standing: float, new: float, moves: bool, tmp_path: Path
) -> None:
    first, second = pretrained(tmp_path, "first", standing), pretrained(tmp_path, "second", new)
    update_latest(tmp_path, "toy", first, only_if_better=True)
    update_latest(tmp_path, "toy", second, only_if_better=True)
    assert latest_run(tmp_path, "toy") == (second if moves else first)


def test_a_single_run_always_moves_the_pointer(tmp_path: Path) -> None:
    for name, perplexity in (("first", 3.0), ("worse", 9.0)):
        update_latest(tmp_path, "toy", pretrained(tmp_path, name, perplexity), only_if_better=False)
    assert latest_run(tmp_path, "toy").name == "worse"


def test_a_run_on_other_data_does_not_compete(tmp_path: Path) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0, "b")
    update_latest(tmp_path, "toy", first, only_if_better=True)
    update_latest(tmp_path, "toy", second, only_if_better=True)
    assert latest_run(tmp_path, "toy") == second


@pytest.mark.parametrize(
    "record",
    [None, "", "{", "{}", "[]", "null", '{"data": null}', '{"data": {"fingerprint": "a"}}'],
)
def test_a_standing_run_without_a_readable_record_is_replaced(
    record: str | None, tmp_path: Path
) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0)
    update_latest(tmp_path, "toy", first, only_if_better=True)
    if record is None:
        (first / "metrics.json").unlink()
    else:
        (first / "metrics.json").write_text(record)
    update_latest(tmp_path, "toy", second, only_if_better=True)
    assert latest_run(tmp_path, "toy") == second


def test_a_standing_run_without_its_model_is_replaced(tmp_path: Path) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0)
    update_latest(tmp_path, "toy", first, only_if_better=True)
    (first / "bilstm.pt").unlink()
    update_latest(tmp_path, "toy", second, only_if_better=True)
    assert latest_run(tmp_path, "toy") == second


def classified(output_dir: Path, name: str, accuracy: float) -> Path:
    run_dir = output_dir / "train_cls" / name
    run_dir.mkdir(parents=True)
    (run_dir / "classifier.pt").write_bytes(b"weights")
    record = {"metrics": {"val/accuracy": accuracy}, "data": {"fingerprint": "a"}}
    write_json(run_dir / "metrics.json", record)
    return run_dir


def test_in_a_multirun_the_more_accurate_classifier_stands(tmp_path: Path) -> None:
    for name, accuracy in (("first", 0.8), ("better", 0.9), ("worse", 0.7), ("equal", 0.9)):
        update_latest(tmp_path, "toy", classified(tmp_path, name, accuracy), True, "classifier")
    assert latest_run(tmp_path, "toy", "classifier").name == "better"


def test_each_kind_has_its_pointer(tmp_path: Path) -> None:
    update_latest(tmp_path, "toy", pretrained(tmp_path, "one", 3.0), only_if_better=False)
    with pytest.raises(MissingModelError, match=r"no classifier was trained.*train_cls\.py"):
        latest_of_all(tmp_path, "classifier")
    update_latest(tmp_path, "toy", classified(tmp_path, "two", 0.9), False, "classifier")
    assert latest_of_all(tmp_path, "classifier").name == "two"
    assert latest_of_all(tmp_path, "bilm").name == "one"


def test_of_several_corpora_the_latest_moved(tmp_path: Path) -> None:
    for number, corpus in enumerate(("toy", "ag_news", "other")):
        update_latest(tmp_path, corpus, pretrained(tmp_path, corpus, 3.0), only_if_better=False)
        moment = 1_000_000_000 + (500 if corpus == "ag_news" else number)
        os.utime(latest_pointer(tmp_path, corpus), (moment, moment))
    assert latest_of_all(tmp_path, "bilm").name == "ag_news"
