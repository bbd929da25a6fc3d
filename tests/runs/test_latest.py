from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from elmo.errors import MissingModelError
from elmo.runs import latest
from elmo.runs.latest import (
    bilm_for,
    choose_model,
    describe,
    latest_of_all,
    latest_pointer,
    latest_run,
    named_run,
    released_run,
    title_of,
    update_latest,
)
from elmo.runs.record import read_record
from elmo.utils.files import write_json, write_text
from elmo.utils.shipped import SHIPPED


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
    update_latest(tmp_path, "toy", run_dir)
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
    update_latest(outputs, "toy", pretrained(outputs, "one", 3.0))
    outputs.rename(tmp_path / "moved")
    assert latest_run(tmp_path / "moved", "toy") == tmp_path / "moved" / "train_lm" / "one"


def test_a_run_outside_the_output_folder(tmp_path: Path) -> None:
    run_dir = pretrained(tmp_path / "elsewhere", "one", 3.0)
    update_latest(tmp_path / "outputs", "toy", run_dir)
    assert latest_run(tmp_path / "outputs", "toy") == run_dir


def test_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    update_latest(Path("outputs"), "toy", pretrained(Path("outputs"), "one", 3.0))
    assert latest_run(Path("outputs"), "toy") == Path("outputs/train_lm/one")
    outside = pretrained(Path("elsewhere"), "two", 3.0)
    update_latest(Path("outputs"), "toy", outside)
    monkeypatch.chdir("/")
    assert latest_run(tmp_path / "outputs", "toy").resolve() == (tmp_path / outside).resolve()


def test_each_corpus_has_its_pointer(tmp_path: Path) -> None:
    one, other = pretrained(tmp_path, "one", 3.0), pretrained(tmp_path, "other", 9.0)
    update_latest(tmp_path, "toy", one)
    update_latest(tmp_path, "ag_news", other)
    assert latest_run(tmp_path, "toy") == one
    assert latest_run(tmp_path, "ag_news") == other


NAN = float("nan")


@pytest.mark.parametrize(
    ("standing", "new", "moves"),
    [
        (3.0, 2.9, True),
        (3.0, 3.1, False),
        (3.0, 3.0, True),
        (3.0, float("inf"), False),
        (3.0, NAN, False),  # a job that diverged
        (NAN, 3.0, True),
    ],
)
def test_a_worse_run_does_not_become_the_latest(
    standing: float, new: float, moves: bool, tmp_path: Path
) -> None:
    first, second = pretrained(tmp_path, "first", standing), pretrained(tmp_path, "second", new)
    update_latest(tmp_path, "toy", first)
    update_latest(tmp_path, "toy", second)
    assert latest_run(tmp_path, "toy") == (second if moves else first)


def test_one_line_says_why_a_run_is_not_the_latest_and_how_to_use_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, worse = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "worse", 9.0)
    update_latest(tmp_path, "toy", first)
    assert caplog.messages == []
    update_latest(tmp_path, "toy", worse)
    (said,) = caplog.messages
    assert said.startswith("not the latest biLM of data=toy, because its val/perplexity is 9, ")
    assert f"that of {first} 3;" in said
    run = os.path.relpath(worse)
    assert said.endswith(f"bilm_path={run} (scripts) or --model {run} (commands)")


@pytest.mark.parametrize(
    ("limits", "cut"),
    [
        ({"limit_train_batches": 2}, "trainer.limit_train_batches=2"),
        ({"limit_val_batches": 0.5, "limit_test_batches": 1}, "trainer.limit_test_batches=1"),
        ({"limit_train_batches": 1.0, "limit_val_batches": None}, None),
    ],
)
def test_a_run_that_was_cut_does_not_become_the_latest(
    limits: dict[str, float | None],
    cut: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    run = pretrained(tmp_path, "cut", 2.0)
    record = {**read_record(run), "settings": {"trainer": limits}}
    write_json(run / "metrics.json", record)
    update_latest(tmp_path, "toy", run)
    assert latest_pointer(tmp_path, "toy").exists() is (cut is None)
    assert cut is None or f"{cut} cut it; to use it anyway: bilm_path=" in caplog.text


def test_a_latest_run_that_was_cut_is_no_rival(tmp_path: Path) -> None:
    """Earlier versions let it become the latest."""
    cut, whole = pretrained(tmp_path, "cut", 2.0), pretrained(tmp_path, "whole", 9.0)
    update_latest(tmp_path, "toy", cut)
    record = {**read_record(cut), "settings": {"trainer": {"limit_val_batches": 1}}}
    write_json(cut / "metrics.json", record)
    update_latest(tmp_path, "toy", whole)
    assert latest_run(tmp_path, "toy") == whole


def test_a_run_on_other_data_does_not_compete(tmp_path: Path) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0, "b")
    update_latest(tmp_path, "toy", first)
    update_latest(tmp_path, "toy", second)
    assert latest_run(tmp_path, "toy") == second


def test_a_run_on_other_splits_does_not_become_the_latest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A classifier that was trained without an agency is not the one for `elmo predict`."""
    default = pretrained(tmp_path, "default", 9.0)
    update_latest(tmp_path, "toy", default)
    held_out = pretrained(tmp_path, "held_out", 3.0, fingerprint="b")
    record = read_record(held_out)
    record["data"]["variant"] = "AP held out"
    write_json(held_out / "metrics.json", record)
    with caplog.at_level("INFO"):
        update_latest(tmp_path, "toy", held_out)
    assert latest_run(tmp_path, "toy") == default
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert "because its splits are other ones (AP held out); to use it anyway: " in line


@pytest.mark.parametrize(
    "record",
    [None, "", "{", "{}", "[]", "null", '{"data": null}', '{"data": {"fingerprint": "a"}}'],
)
def test_a_standing_run_without_a_readable_record_is_replaced(
    record: str | None, tmp_path: Path
) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0)
    update_latest(tmp_path, "toy", first)
    if record is None:
        (first / "metrics.json").unlink()
    else:
        (first / "metrics.json").write_text(record)
    update_latest(tmp_path, "toy", second)
    assert latest_run(tmp_path, "toy") == second


def test_a_standing_run_without_its_model_is_replaced(tmp_path: Path) -> None:
    first, second = pretrained(tmp_path, "first", 3.0), pretrained(tmp_path, "second", 9.0)
    update_latest(tmp_path, "toy", first)
    (first / "bilstm.pt").unlink()
    update_latest(tmp_path, "toy", second)
    assert latest_run(tmp_path, "toy") == second


def classified(output_dir: Path, name: str, accuracy: float) -> Path:
    run_dir = output_dir / "train_cls" / name
    run_dir.mkdir(parents=True)
    (run_dir / "classifier.pt").write_bytes(b"weights")
    record = {"metrics": {"val/accuracy": accuracy}, "data": {"fingerprint": "a"}}
    write_json(run_dir / "metrics.json", record)
    return run_dir


def test_the_more_accurate_classifier_stands(tmp_path: Path) -> None:
    for name, accuracy in (("first", 0.8), ("better", 0.9), ("worse", 0.7)):
        update_latest(tmp_path, "toy", classified(tmp_path, name, accuracy), "classifier")
    assert latest_run(tmp_path, "toy", "classifier").name == "better"


def test_each_kind_has_its_pointer(tmp_path: Path) -> None:
    update_latest(tmp_path, "toy", pretrained(tmp_path, "one", 3.0))
    with pytest.raises(MissingModelError, match=r"no classifier was trained.*train_cls\.py"):
        latest_of_all(tmp_path, "classifier")
    update_latest(tmp_path, "toy", classified(tmp_path, "two", 0.9), "classifier")
    assert latest_of_all(tmp_path, "classifier").name == "two"
    assert latest_of_all(tmp_path, "bilm").name == "one"


def several(output_dir: Path, *corpora: str) -> None:
    """One model of each corpus, the last one the newest."""
    for number, corpus in enumerate(corpora):
        update_latest(output_dir, corpus, pretrained(output_dir, corpus, 3.0))
        moment = 1_000_000_000 + number
        os.utime(latest_pointer(output_dir, corpus), (moment, moment))


def test_the_toy_corpus_never_hides_real_text(tmp_path: Path) -> None:
    several(tmp_path, "other", "ag_news", "toy")
    assert latest_of_all(tmp_path, "bilm").name == "ag_news"
    assert named_run("latest", tmp_path, "bilm").name == "toy"
    path, (line,) = choose_model(None, tmp_path, "bilm", "--model X", "--model latest")
    assert path.name == "ag_news"
    assert line == f"model: {describe(path)}; --model X chooses another"


def test_the_toy_model_serves_where_there_is_no_other(tmp_path: Path) -> None:
    several(tmp_path, "toy")
    assert latest_of_all(tmp_path, "bilm").name == "toy"


def test_a_toy_model_beside_the_released_one_is_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    several(Path("outputs"), "toy")
    path, lines = choose_model(None, Path("outputs"), "bilm", "--model X", "--model latest")
    assert path == released_run("bilm")
    (said, note) = lines
    assert said.startswith(f"model: {path}, the released one (ag_news_57k, validation perplexity ")
    assert said.endswith("); --model X chooses another")
    assert note == (
        "note: outputs/train_lm/toy was trained on the toy corpus; --model latest takes it"
    )
    path, lines = choose_model("latest", Path("outputs"), "bilm", "--model X", "--model latest")
    assert (path, len(lines)) == (Path("outputs/train_lm/toy"), 1)
    path, lines = choose_model("nowhere", Path("outputs"), "bilm", "--model X", "--model latest")
    assert (path, lines) == (Path("nowhere"), [])
    (Path("outputs/train_lm/toy") / "bilstm.pt").unlink()
    path, lines = choose_model(None, Path("outputs"), "bilm", "--model X", "--model latest")
    assert (path, len(lines)) == (released_run("bilm"), 1)


def test_what_the_user_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_run("some/run", tmp_path, "bilm") == Path("some/run")
    assert named_run("released", tmp_path, "classifier") == released_run("classifier")
    with pytest.raises(MissingModelError, match=r"no biLM was trained yet.*bilm_path=released"):
        named_run("latest", tmp_path, "bilm")
    monkeypatch.setattr(latest, "RELEASED", tmp_path / "nowhere")
    with pytest.raises(MissingModelError, match=r"nowhere.*bilstm\.pt: no such file"):
        named_run("released", tmp_path, "bilm")


def test_a_model_is_described_by_corpus_score_and_date(tmp_path: Path) -> None:
    run = classified(tmp_path, "one", 0.91234)
    record = {**read_record(run), "data": {"name": "toy", "fingerprint": "a"}}
    write_json(run / "metrics.json", record)
    day = datetime(2020, 5, 17, 12).timestamp()
    os.utime(run / "metrics.json", (day, day))
    assert describe(run) == f"{run} (toy, validation accuracy 0.9123, 2020-05-17)"
    # The time in the name of TensorBoard's file comes first: a copy keeps it.
    for moment in (datetime(2019, 1, 1), datetime(2019, 3, 4, 12)):
        (run / f"events.out.tfevents.{int(moment.timestamp())}.host.7.0").touch()
    assert describe(run / "classifier.pt").endswith("(toy, validation accuracy 0.9123, 2019-03-04)")
    (run / "metrics.json").write_text("[")
    assert describe(run) == str(run)
    assert describe(tmp_path / "nowhere.pt") == str(tmp_path / "nowhere.pt")


def test_a_model_below_the_current_folder_has_a_short_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = classified(tmp_path, "one", 0.9)
    monkeypatch.chdir(tmp_path)
    assert title_of(run) == "train_cls/one"
    assert title_of(tmp_path.parent / "two") == str(tmp_path.parent / "two")
    monkeypatch.chdir(SHIPPED)
    assert title_of(released_run("bilm")) == "outputs/reference/train_lm, the released one"


def test_the_released_bilm_serves_the_corpora_of_ag_news_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = Path("outputs")
    for corpus in ("ag_news", "ag_news_57k", "ag_news_titles"):
        assert bilm_for(None, outputs, corpus) == released_run("bilm")
        with pytest.raises(MissingModelError, match="bilm_path=released"):
            bilm_for(None, Path("elsewhere"), corpus)
    with pytest.raises(MissingModelError, match="bilm_path=released"):
        bilm_for(None, outputs, "toy")
    assert bilm_for("released", outputs, "toy") == released_run("bilm")
    several(outputs, "ag_news")
    assert bilm_for(None, outputs, "ag_news").name == "ag_news"
    (bilm_for(None, outputs, "ag_news") / "bilstm.pt").unlink()
    with pytest.raises(MissingModelError, match="no longer holds"):
        bilm_for(None, outputs, "ag_news")


def test_a_worse_run_does_not_take_the_place_of_the_released_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = Path("outputs")
    record = read_record(released_run("bilm"))
    data, released = record["data"], record["metrics"]["val/perplexity"]
    for name, perplexity in (("worse", 1.1 * released), ("better", 0.9 * released)):
        run = pretrained(outputs, name, perplexity, data["fingerprint"])
        update_latest(outputs, data["name"], run)
        assert latest_pointer(outputs, data["name"]).is_file() is (name == "better")
