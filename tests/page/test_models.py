from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from elmo.errors import ArtifactError, ConfigError, DataError, MissingModelError
from elmo.page import found_runs
from elmo.page.models import Models, name_of, side_by_side
from elmo.page.texts import SearchedTexts

CPU = torch.device("cpu")


def names(offers: list) -> list[str]:
    return [offer.path.name for offer in offers]


def test_the_latest_model_comes_first_then_the_best(models: Models, runs: Path) -> None:
    found = found_runs.find_runs(runs).runs
    offers = models.classifiers(found)
    assert names(offers) == ["learned", "train_cls", "trainable", "word2vec"]
    assert names(models.bilms(found)) == ["lm", "train_lm"]
    assert names(models.encoders(found)) == ["lm", "train_lm", "word2vec"]
    named = Models([str(runs / "word2vec")], runs, CPU, SearchedTexts())
    assert names(named.classifiers(found))[:2] == ["word2vec", "train_cls"]
    assert names(named.bilms(found)) == ["lm", "train_lm"]


def test_side_by_side_are_the_settings_on_one_corpus(models: Models, runs: Path) -> None:
    offers = models.classifiers(found_runs.find_runs(runs).runs)
    assert [name_of(offer) for offer in side_by_side(offers)] == [
        "ELMo, learned", "ELMo, trainable", "Word2Vec",
    ]  # fmt: skip
    assert names(side_by_side(offers, most=2)) == ["learned", "trainable"]
    twice = [*offers[:3], offers[2]._replace(path=Path("another_seed")), offers[3]]
    assert names(side_by_side(twice)) == ["learned", "trainable", "word2vec"]
    assert side_by_side([]) == []


def test_classifiers_on_equal_encoders_share_one(models: Models, runs: Path) -> None:
    learned, trainable, static = (
        models.classifier(str(runs / name)) for name in ("learned", "trainable", "word2vec")
    )
    assert learned.encoder is trainable.encoder
    assert learned.encoder is not static.encoder
    assert models.classifier(str(runs / "learned")) is learned


def test_other_weights_are_another_encoder(models: Models, runs: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(runs / "learned", changed)
    model = models.classifier(str(runs / "learned"))
    with torch.no_grad():
        weight = next(model.encoder.parameters())
        kept = weight.clone()
        weight.add_(1)
        model.save(changed / "classifier.pt", {})
        weight.copy_(kept)
    assert models.classifier(str(changed)).encoder is not model.encoder


def test_a_model_is_loaded_once_for_all_who_ask(models: Models) -> None:
    loaded: list[str] = []
    start = threading.Barrier(4)

    def load() -> str:
        loaded.append("model")
        time.sleep(0.05)  # the others ask meanwhile
        return "model"

    kept: OrderedDict[str, str] = OrderedDict()

    def ask(_: int) -> str:
        start.wait()
        return models._kept(kept, "path", load)

    with ThreadPoolExecutor(4) as visitors:
        assert list(visitors.map(ask, range(4))) == ["model"] * 4
    assert len(loaded) == 1


def test_the_model_that_was_not_used_for_longest_goes(models: Models) -> None:
    kept: OrderedDict[str, str] = OrderedDict()
    for key in ("a", "b", "a", "c"):
        assert models._kept(kept, key, lambda key=key: key.upper(), most=2) == key.upper()  # type: ignore[misc]
    assert kept == {"a": "A", "c": "C"}


@pytest.mark.parametrize("named", [None, "latest"])
def test_without_any_model_the_user_is_told_to_train(named: str | None, tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match="no classifier was trained yet; run"):
        Models([named] if named else [], tmp_path, CPU, SearchedTexts())


def test_one_kind_that_is_missing_is_said(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "lm", tmp_path / "lm")
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "toy").write_text("lm\n")
    models = Models(["latest"], tmp_path, CPU, SearchedTexts())
    assert names(models.bilms([])) == ["lm"]
    model, note = models.lines
    assert model.startswith("model: ")
    assert note.startswith("note: ")
    assert "no classifier was trained yet" in note


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.pt"
    file.write_text("not a model")
    with pytest.raises(ArtifactError, match=r"notes\.pt"):
        Models([str(file)], tmp_path, CPU, SearchedTexts())


def test_a_damaged_record_is_named_and_left_out(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    for name in ("learned", "trainable", "svm"):
        shutil.copytree(runs / name, folder / name)
    (folder / "learned/metrics.json").write_text("{")
    (folder / "svm/metrics.json").write_text('{"metrics": []}')
    found = found_runs.find_runs(folder)
    own = [run.folder.name for run in found.runs if run.folder.is_relative_to(folder)]
    assert own == ["trainable"]
    assert [problem.split(": ")[0].split(os.sep)[-2] for problem in found.problems] == [
        "learned", "svm",
    ]  # fmt: skip


def test_a_failed_job_has_its_reason_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "0_job").mkdir()
    (tmp_path / "0_job/failure.json").write_text(json.dumps({"reason": "out of memory"}))
    rows = found_runs.table(found_runs.find_runs(tmp_path))
    assert [row["status"] for row in rows if row["run"] == "0_job"] == ["out of memory"]


def test_titles_tell_runs_apart(runs: Path) -> None:
    found = [run for run in found_runs.find_runs(runs).runs if run.folder.is_relative_to(runs)]
    titles = found_runs.titles(found)
    assert len(set(titles.values())) == len(found)
    assert titles[found_runs.key_of(runs / "svm")] == "TF-IDF, linear SVM"
    assert titles[found_runs.key_of(runs / "few")] == "ELMo, learned, few"


def test_rows_behind_a_cell_are_those_of_the_matrix(runs: Path) -> None:
    (run,) = (run for run in found_runs.find_runs(runs).runs if run.folder.name == "trainable")
    found = found_runs.confusion(run, "test")
    assert found is not None
    classes, counts = found
    for true, row in zip(classes, counts, strict=True):
        for predicted, count in zip(classes, row, strict=True):
            rows = found_runs.rows_behind(run, "test", true, predicted)
            assert len(rows) == count
            assert all(classes[behind.row % 4] == true for behind in rows)
    with pytest.raises(DataError, match="kept no predictions of the train split"):
        found_runs.rows_behind(run, "train", "World", "World")


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        ({"_target_": "x.AgNews", "dir": None}, "set AG_NEWS_DIR"),
        ({"_target_": "x.HubCorpus", "files": "https://example.org/a.csv"}, "downloaded"),
    ],
)
def test_texts_are_not_downloaded(
    data: dict, refusal: str, runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AG_NEWS_DIR", raising=False)
    (run,) = (run for run in found_runs.find_runs(runs).runs if run.folder.name == "trainable")
    run.record["data"] = {**run.record["data"], "name": "other"}
    run.record["settings"]["data"] = data
    rows = [found_runs.Behind(3, 0.9, None)]
    with pytest.raises(DataError, match=refusal):
        found_runs.with_texts(run, "test", rows, str(tmp_path))


def test_texts_of_other_data_are_not_shown(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (run,) = (run for run in found_runs.find_runs(runs).runs if run.folder.name == "trainable")
    run.record["data"] = {"name": "toy", "fingerprint": "aaaa1111"}
    split = Dataset.from_dict({"row": [3, 5], "text": ["A bank", "A river"]})
    corpus = SimpleNamespace(fingerprint="aaaa1111", splits={"test": split})
    monkeypatch.setattr(found_runs, "training_corpus", lambda folder, cache_dir: corpus)
    rows = [found_runs.Behind(5, 0.9, None), found_runs.Behind(3, 0.8, None)]
    shown = found_runs.with_texts(run, "test", rows, str(tmp_path))
    assert [row.text for row in shown] == ["A river", "A bank"]
    corpus.fingerprint = "bbbb2222"
    with pytest.raises(DataError, match="not the data that the run was trained on"):
        found_runs.with_texts(run, "test", rows, str(tmp_path))


def test_searched_texts_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "news.csv"
    file.write_text("text,topic\nThe bank,money\nA river,land\n")
    texts = SearchedTexts(file, "text", "topic")
    assert (texts.read(), texts.label(1), texts.name) == (
        ["The bank", "A river"],
        "land",
        "news.csv",
    )
    assert SearchedTexts(file, "text").label(0) is None
    for most, is_cut in ((3, False), (1, True)):
        monkeypatch.setattr("elmo.page.texts.MOST_DOCUMENTS", most)
        assert SearchedTexts(file, "text").is_cut == is_cut
        assert len(SearchedTexts(file, "text").read()) == min(2, most)
    with pytest.raises(ConfigError, match=r"no column 'title'.*one of: text, topic"):
        SearchedTexts(file, "title")
    with pytest.raises(DataError, match="no such file"):
        SearchedTexts(tmp_path / "missing.txt")
    with pytest.raises(ConfigError, match="--corpus"):
        SearchedTexts(None, "text")
    plain = tmp_path / "news.txt"
    plain.write_text("The bank\n")
    with pytest.raises(ConfigError, match="plain text has no column 'topic'"):
        SearchedTexts(plain, None, "topic")
