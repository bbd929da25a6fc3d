from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from elmo.data.corpora.ag_news import AgNews
from elmo.data.corpora.toy import ToyNews
from elmo.errors import ArtifactError, ConfigError
from elmo.models.training_corpus import texts_read, training_corpus
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from small_corpora import ag_news, csv_of, news, texts, toy_news

TOY = {
    "_target_": "elmo.data.corpora.toy.ToyNews",
    "rows": 60,
    "test_rows": 10,
    "seed": 0,
    "split_seed": 0,
    "validation_size": 10,
    "min_count": 1,
    "max_vocabulary": None,
    "cache_dir": "gone",
}


def recorded(folder: Path, data: Any) -> Path:
    """Write a record with the settings of a corpus; return its folder."""
    (folder / "metrics.json").write_text(json.dumps({"settings": {"data": data}}))
    return folder


@pytest.mark.parametrize("beside", ["", "bilstm.pt"])
def test_the_corpus_of_a_run_is_the_one_it_was_trained_on(
    pretrained: Path, toy: ToyNews, tmp_path: Path, beside: str
) -> None:
    run = latest_run(pretrained, "toy")
    corpus = training_corpus(run / beside, str(tmp_path))
    assert corpus.fingerprint == read_record(run)["data"]["fingerprint"] == toy.fingerprint
    assert corpus.splits["validation"]["text"][:] == toy.splits["validation"]["text"][:]
    assert list(tmp_path.iterdir())  # prepared again in the given cache


def test_overrides_replace_recorded_settings(tmp_path: Path) -> None:
    recorded(tmp_path, TOY)
    as_recorded = training_corpus(tmp_path, str(tmp_path))
    other = training_corpus(tmp_path, str(tmp_path), {"validation_size": 20, "max_vocabulary": 50})
    assert (other.validation_size, other.max_vocabulary) == (20, 50)
    assert as_recorded.validation_size == 10
    assert other.fingerprint != as_recorded.fingerprint


def test_a_corpus_is_built_before_its_files_are_needed(tmp_path: Path) -> None:
    sizes = {name: TOY[name] for name in TOY if name not in ("rows", "test_rows", "seed")}
    recorded(tmp_path, {**sizes, "_target_": "elmo.data.corpora.ag_news.AgNews", "dir": "gone"})
    corpus = training_corpus(tmp_path, str(tmp_path), {"dir": "elsewhere"})
    assert isinstance(corpus, AgNews)
    assert corpus.dir == Path("elsewhere")


def test_the_environment_names_a_folder_that_was_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of a released run names no folder."""
    sizes = {name: TOY[name] for name in TOY if name not in ("rows", "test_rows", "seed")}
    recorded(tmp_path, {**sizes, "_target_": "elmo.data.corpora.ag_news.AgNews", "dir": None})
    for folder in ("here", None):
        if folder:
            monkeypatch.setenv("AG_NEWS_DIR", folder)
        else:
            monkeypatch.delenv("AG_NEWS_DIR")
        corpus = training_corpus(tmp_path, str(tmp_path))
        assert isinstance(corpus, AgNews)
        assert corpus.dir == (Path(folder) if folder else None)


def test_a_corpus_is_found_by_its_bare_name(tmp_path: Path) -> None:
    """Records from before a class moved to another module stay readable."""
    recorded(tmp_path, {**TOY, "_target_": "elmo.earlier_module.ToyNews"})
    assert isinstance(training_corpus(tmp_path, str(tmp_path)), ToyNews)


def test_texts_of_other_splits_that_the_pretraining_read_are_counted(tmp_path: Path) -> None:
    sizes = {"rows": 60, "test_rows": 10, "validation_size": 10, "min_count": 1}
    recorded(tmp_path, TOY)
    read = set(texts(toy_news(tmp_path, **sizes), "train"))
    other = toy_news(tmp_path, **{**sizes, "split_seed": 1})
    counts = texts_read(tmp_path / "bilstm.pt", other)
    expected = {
        split: sum(text in read for text in texts(other, split)) for split in ("validation", "test")
    }
    assert counts == expected
    assert 0 < counts["validation"] <= 10
    assert texts_read(tmp_path, toy_news(tmp_path, **sizes)) == {"validation": 0, "test": 0}


def test_rows_of_an_agency_are_found_without_its_name(tmp_path: Path) -> None:
    """The pretraining read "AP - ..." in the train file; held out, the name is removed."""
    source = tmp_path / "source"
    source.mkdir()
    rows = [(f"AP - {text}" if label else text, label) for text, label in news(80)]
    (source / "train.csv").write_bytes(csv_of(rows))
    tests = [(f"AP - {text}" if label else text, label) for text, label in news(7600, "test")]
    (source / "test.csv").write_bytes(csv_of(tests))
    plain = ag_news(source, tmp_path)
    names = ("split_seed", "validation_size", "min_count", "max_vocabulary", "dir")
    data = {name: getattr(plain, name) for name in names}
    data["dir"] = None  # as in a record that was released
    recorded(tmp_path, {**data, "_target_": "elmo.data.corpora.ag_news.AgNews"})
    held_out = ag_news(source, tmp_path, hold_out="AP", strip_source=True)
    in_train = sum("AP" in text for text in texts(plain, "train"))
    assert texts_read(tmp_path, held_out)["test"] == in_train > 40


def test_what_cannot_be_told_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert texts_read(tmp_path, toy_news(tmp_path)) == {}
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("which texts the biLM has read cannot be told: ")
    assert "no such file" in warning


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"row": 3}, r"^row: .*ToyNews has no such setting; expected max_vocabulary, min_count, r"),
        ({"_target_": "elmo.data.corpora.ag_news.AgNews"}, "no such setting"),
        ({"cache_dir": "here"}, "no such setting"),
        ({"rows": "many"}, "rows is 'many'; expected a value like the recorded one, 60"),
        ({"validation_size": 0}, "validation_size is 0; expected a number of rows, 1 or more"),
        ({"validation_size": None}, r"cannot be built with \{'validation_size': None\}"),
    ],
)
def test_a_wrong_override_is_refused(
    tmp_path: Path, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        training_corpus(recorded(tmp_path, TOY), "cache", overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        None,
        7,
        "elmo.data.corpus",
        "elmo.data.corpus.Corpus",  # abstract
        "elmo.data.corpus.NoSuch",
        "elmo.data.corpus.Path",
        "elmo.data.corpus.clean",
        "elmo.data.text.WordTokenizer",
        "os.system",
        "this.d",  # a module that nothing else imports
    ],
)
def test_only_a_corpus_of_the_project_is_built(tmp_path: Path, target: object) -> None:
    recorded(tmp_path, {**TOY, "_target_": target})
    with pytest.raises(ArtifactError, match=r"not a corpus of this project.*--file FILE") as caught:
        training_corpus(tmp_path, "cache")
    assert repr(target) in str(caught.value)
    assert str(tmp_path / "metrics.json") in str(caught.value)
    assert "this" not in sys.modules


NO_SETTINGS = "no settings of a corpus"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable"),
        (b"{", "not readable"),
        (b"\xff", "not readable"),
        (b"[]", NO_SETTINGS),
        (b"null", NO_SETTINGS),
        (b"{}", NO_SETTINGS),
        (b'{"settings": null}', NO_SETTINGS),
        (b'{"settings": {"data": "toy"}}', NO_SETTINGS),
    ],
)
def test_an_unreadable_record_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"metrics\.json: {message}.*--file FILE") as caught:
        training_corpus(tmp_path, "cache")
    assert "\n" not in str(caught.value)


def test_a_missing_record_and_unknown_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"metrics\.json: no such file.*--file FILE"):
        training_corpus(tmp_path / "bilstm.pt", "cache")
    for data in ({**TOY, "unheard_of": 1}, {**TOY, "validation_size": "ten"}):
        with pytest.raises(ArtifactError, match=r"ToyNews cannot be built \(.*--file FILE"):
            training_corpus(recorded(tmp_path, data), "cache")
