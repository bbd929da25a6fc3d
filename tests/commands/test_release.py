"""The released run: what it contains, and that it is used where nothing was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import elmo
from conftest import ROOT, Script, error_line, run_here
from elmo.commands.release import main
from elmo.data.corpora.toy import ToyNews
from elmo.data.text import UNK
from elmo.errors import ConfigError, MissingModelError
from elmo.models import loading
from elmo.models.artifacts import load_artifact
from elmo.models.loading import pretrained_elmo
from elmo.runs import latest
from elmo.runs.finished import finished_runs
from elmo.runs.latest import latest_of_all, latest_run
from elmo.runs.record import read_record
from elmo.utils.files import sha256_of
from small_corpora import texts


def release(*arguments: object) -> None:
    main(list(map(str, arguments)))


@pytest.fixture
def released(
    pretrained: Path,
    classified: Path,
    cache_dir: Path,
    tmp_path: Path,
) -> Path:
    """The folder of a released biLM and a released classifier on it."""
    out = tmp_path / "outputs" / "reference"
    there = ("-o", out, "--cache-dir", cache_dir)
    release(latest_run(pretrained, "toy"), *there)
    release(on_the_released(classified, out, tmp_path / "classified"), *there)
    return out


def on_the_released(classified: Path, out: Path, copy: Path) -> Path:
    """Copy a run, and record in the copy that its biLM is the released one."""
    shutil.copytree(classified, copy)
    start = json.loads((copy / "run.json").read_text())
    start["settings"]["bilm_sha256"] = sha256_of(out / "train_lm" / "bilstm.pt")
    (copy / "run.json").write_text(json.dumps(start))
    return copy


def test_models_in_half_precision_and_their_figures(
    released: Path, pretrained: Path, classified: Path
) -> None:
    for name, kind, source in (
        ("train_lm", "bilm", latest_run(pretrained, "toy")),
        ("train_cls", "classifier", classified),
    ):
        whole, half = load_artifact(source, kind), load_artifact(released / name, kind)
        assert half["config"] == whole["config"]
        for tensor_name, tensor in half["state"].items():
            assert tensor.dtype == torch.float16
            torch.testing.assert_close(tensor, whole["state"][tensor_name].half())
        record = read_record(released / name)
        for key, value in record["released"]["metrics"].items():
            assert value == pytest.approx(read_record(source)["metrics"][key], rel=0.02), key
    assert elmo.load_classifier(released / "train_cls").predict(["the bank"])


def test_no_text_and_no_path_of_the_machine_is_released(
    released: Path, toy: ToyNews, pretrained: Path, cache_dir: Path
) -> None:
    places = [str(pretrained), str(cache_dir), str(latest.RELEASED.parent.parent)]
    sentences = texts(toy, "validation")
    for file in [file for file in released.rglob("*") if file.is_file()]:
        content = file.read_bytes()
        assert not any(place.encode() in content for place in places), file
        assert not any(sentence.encode() in content for sentence in sentences), file
    events = EventAccumulator(str(released / "train_lm"))
    events.Reload()
    assert {tag for tag, found in events.Tags().items() if found} == {"scalars"}
    assert "val/perplexity" in events.Tags()["scalars"]


def test_the_model_card_has_the_figures_and_the_commands(released: Path) -> None:
    card = (released / "README.md").read_text()
    for name, key in (("train_lm", "test/perplexity"), ("train_cls", "test/accuracy")):
        record = read_record(released / name)
        for figures in (record["metrics"], record["released"]["metrics"]):
            assert f" {figures[key]:.{3 if 'perplexity' in key else 4}f} |" in card
        assert f"python {name}.py data=toy " in card
    assert "mixer=learned" in card
    assert "bilm_path" not in card
    assert "non-commercial" in card


def test_what_cannot_be_released(
    pretrained: Path,
    classified: Path,
    cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, bilm = tmp_path / "out", latest_run(pretrained, "toy")
    there = ("-o", out, "--cache-dir", cache_dir)

    def refused(run: Path, words: str) -> None:
        assert words in error_line(lambda: release(run, *there), capsys)

    refused(tmp_path, "no bilstm.pt or classifier.pt in it")
    refused(classified, "release the biLM into this folder first")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(bilm / "bilstm.pt", unfinished)
    refused(unfinished, "no metrics.json in it")
    assert not out.exists()
    release(bilm, *there)
    capsys.readouterr()
    card = (out / "README.md").read_text()
    assert "load_bilm" in card
    assert "classifier" not in card
    refused(bilm, "exists already")
    refused(classified, f"train one with bilm_path={out / 'train_lm'}")
    assert sorted(file.name for file in out.iterdir()) == ["README.md", "train_lm"]


@pytest.fixture
def nothing_trained(released: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a run of its own."""
    elsewhere = released.parent.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(latest, "RELEASED", released)
    return released


def test_it_is_used_where_nothing_was_trained(
    nothing_trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert elmo.load_classifier().predict(["the bank"])
    assert elmo.load_bilm().embed(["the bank"])
    for said, name in zip(caplog.messages, ("train_cls", "train_lm"), strict=True):
        assert said.startswith(
            f"model: {nothing_trained / name}, the released one (toy, validation"
        )
        assert said.endswith('; path="released", "latest" or a folder chooses another')
    assert latest_run(Path("outputs"), "toy") == nothing_trained / "train_lm"
    for kind, folder, corpus in (("bilm", "outputs", "ag_news"), ("classifier", "mine", "toy")):
        with pytest.raises(MissingModelError, match=r"no .* was trained"):
            latest_run(Path(folder), corpus, kind)
    with pytest.raises(MissingModelError, match="no biLM was trained yet"):
        latest_of_all(Path("mine"), "bilm")


def test_a_trained_model_comes_first(
    nothing_trained: Path, pretrained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = latest_run(pretrained, "toy").resolve()
    pointer = Path("outputs/latest/ag_news")
    pointer.parent.mkdir(parents=True)
    pointer.write_text(str(own))
    assert latest_of_all(Path("outputs"), "bilm") == own
    elmo.load_bilm()
    (said,) = caplog.messages
    assert said.startswith(f"model: {own} (toy, validation perplexity ")


def test_a_model_is_named_from_python(
    nothing_trained: Path, pretrained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for load in (elmo.load_bilm, elmo.load_language_model, elmo.load_classifier):
        load("released")
        assert ", the released one (" in caplog.messages.pop()
        with pytest.raises(MissingModelError, match="was trained yet"):
            load("latest")
    caplog.clear()
    own = latest_run(pretrained, "toy").resolve()
    pointer = Path("outputs/latest/toy")
    pointer.parent.mkdir(parents=True)
    pointer.write_text(str(own))
    for load in (elmo.load_bilm, elmo.load_language_model):
        load("latest")
        assert caplog.messages[-1].startswith(f"model: {own} (toy, ")
    caplog.clear()
    elmo.load_bilm()  # a toy model does not take the place of the released one
    said, note = caplog.messages
    assert ", the released one (" in said
    assert note == f'note: {own} was trained on the toy corpus; path="latest" takes it'


def test_a_classifier_finds_the_released_bilm(nothing_trained: Path, script: Script) -> None:
    """Run the script with the default output folder, `outputs` in the working folder."""
    arguments = ("data=toy", "data.rows=1200", "data.test_rows=200", "data.validation_size=200")
    small = ("trainer.max_epochs=1", "trainer.accelerator=cpu", "head.hidden_dim=16")
    quiet = ("trainer.enable_progress_bar=false", "store=off")
    script("train_cls", *arguments, *small, *quiet, output_dir=Path("outputs"))
    (run,) = Path("outputs/train_cls").iterdir()
    start = json.loads((run / "run.json").read_text())
    assert start["settings"]["bilm_path"] == str(nothing_trained / "train_lm")
    assert start["settings"]["bilm_sha256"]
    assert f"bilm_path='{nothing_trained / 'train_lm'}'" in start["overrides"]


class Related(ToyNews):
    """Texts like those of the released biLM, as another corpus of AG News."""

    name = "ag_news"


def test_a_related_corpus_takes_the_released_bilm_if_it_knows_the_words(
    nothing_trained: Path,
    cache_dir: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = Related(
        rows=1200,
        test_rows=200,
        seed=1,
        split_seed=0,
        validation_size=200,
        min_count=2,
        max_vocabulary=None,
        cache_dir=str(cache_dir),
    )
    documents = elmo.load_bilm().tokenizer.encode(texts(corpus, "train"))
    ids = [word for document in documents for word in document.ids[1:-1]]
    rate = ids.count(UNK) / len(ids)
    assert 0 < rate < 1
    monkeypatch.setattr(loading, "MAX_UNKNOWN", rate * 1.01)
    caplog.clear()
    loaded = pretrained_elmo(corpus, None, "outputs")
    assert loaded.tokenizer.json == elmo.load_bilm().tokenizer.json
    said = caplog.messages[0]
    assert said.startswith(f"biLM: {nothing_trained / 'train_lm'}, the released one, pretrained on")
    assert "because none was pretrained on data=ag_news" in said
    assert f" {100 * rate:.1f}% of the train words" in said
    monkeypatch.setattr(loading, "MAX_UNKNOWN", rate * 0.99)
    with pytest.raises(ConfigError, match=r"python train_lm\.py data=ag_news.*bilm_path=released"):
        pretrained_elmo(corpus, None, "outputs")
    pretrained_elmo(corpus, "released", "outputs")
    assert "used because bilm_path names it" in caplog.text


def test_a_bilm_named_by_a_word_is_recorded_and_resumed_by_its_path(
    nothing_trained: Path, pretrained: Path, script: Script
) -> None:
    arguments = ("data=toy", "data.rows=1200", "data.test_rows=200", "data.validation_size=200")
    small = ("trainer.max_epochs=1", "trainer.accelerator=cpu", "head.hidden_dim=16")
    own = latest_run(pretrained, "toy").resolve()
    pointer = Path("outputs/latest/toy")
    pointer.parent.mkdir(parents=True)
    pointer.write_text(str(own))
    for name, path in (("latest", own), ("released", nothing_trained / "train_lm")):
        typed = (*arguments, *small, "store=off", f"bilm_path={name}", f"hydra.run.dir={name}")
        script("train_cls", *typed, output_dir=Path("outputs"))
        start = json.loads(Path(name, "run.json").read_text())
        assert start["settings"]["bilm_path"] == str(path)
        assert start["settings"]["bilm_sha256"] == sha256_of(path / "bilstm.pt")
        assert [o for o in start["overrides"] if "bilm" in o] == [f"bilm_path='{path}'"]
    pointer.unlink()  # what `latest` meant then is what the run goes on with
    finished = run_here([str(ROOT / "train_cls.py"), "resume=latest"])
    assert finished.code == 0, finished.stderr


def test_reports_and_comparisons_leave_it_out(nothing_trained: Path) -> None:
    assert finished_runs([nothing_trained.parent]) == []
    assert len(finished_runs([nothing_trained])) == 2


def test_it_is_left_out_of_a_checkout_behind_a_link_as_well(
    nothing_trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = tmp_path / "linked"
    linked.symlink_to(nothing_trained.parent)
    monkeypatch.setattr(latest, "RELEASED", linked / nothing_trained.name)
    assert finished_runs([linked]) == []
