from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from conftest import TINY, Script
from elmo.data.corpora.toy import ToyNews
from elmo.errors import ConfigError
from elmo.runs.record import read_record
from elmo.training.tfidf import Linear, TfidfClassifier
from evaluation.test_label_noise import Listed

CORPUS = [item for item in TINY if item.startswith("data")]


@pytest.mark.parametrize("characters", [None, [2, 4]])
@pytest.mark.parametrize(
    "linear", [LinearSVC(C=0.3), LogisticRegression(C=10, max_iter=1000), ComplementNB()]
)
def test_figures_are_those_of_a_plain_pipeline(
    linear: Linear, characters: list[int] | None, toy: ToyNews
) -> None:
    model = TfidfClassifier(linear, longest=2, min_count=2, characters=characters)
    model.fit(toy)
    figures, results, *_ = model.evaluate(toy)
    train, test = toy.splits["train"], toy.splits["test"]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    if characters:
        of_characters = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), min_df=2, sublinear_tf=True
        )
        vectorizer = make_union(vectorizer, of_characters)
    pipeline = make_pipeline(vectorizer, linear).fit(list(train["text"]), list(train["label"]))
    predicted = pipeline.predict(list(test["text"]))
    assert results["test"].probabilities.argmax(1).tolist() == predicted.tolist()
    labels = list(test["label"])
    assert figures["test/accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert figures["test/f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    if hasattr(linear, "predict_proba"):
        expected = log_loss(labels, pipeline.predict_proba(list(test["text"])))
        assert figures["test/loss"] == pytest.approx(expected, rel=1e-5)
    else:  # margins are no probabilities
        assert not {"test/loss", "test/ece"} & figures.keys()


def test_a_row_is_judged_by_classifiers_that_have_not_seen_it(tmp_path: Path) -> None:
    """No two texts share a word, so that their labels can only be learned by heart.

    Each stands twice: a copy in another fold would give its label away.
    """
    train = [(f"word{n} thing{n}", n * n % 3 % 2) for n in range(61)]
    train += [(f"other{n} matter{n}", 2) for n in range(20)]
    corpus = Listed([*train, *train, ("held out", 2)], [("test", 0)], tmp_path)
    model = TfidfClassifier(LogisticRegression(C=100), longest=1, min_count=1)
    probabilities = model.out_of_fold(corpus, 4)
    labels = np.array(corpus.splits["train"]["label"])
    np.testing.assert_allclose(probabilities.sum(1), 1)
    majority = np.bincount(labels).max() / len(labels)
    assert (probabilities.argmax(1) == labels).mean() <= majority
    model.fit(corpus)
    assert (model.scores(corpus, "train").argmax(1) == labels).all()
    for folds in (1, 1000):
        with pytest.raises(ConfigError, match=f"the number of folds is {folds}"):
            model.out_of_fold(corpus, folds)


def test_words_of_the_other_splits_are_not_known(toy: ToyNews) -> None:
    model = TfidfClassifier(LinearSVC(), longest=1, min_count=1)
    model.fit(toy)
    (vectorizer,) = (part for _, part in model.features.transformer_list)
    known = set(vectorizer.vocabulary_)
    analyse = vectorizer.build_analyzer()
    assert known == {word for text in toy.splits["train"]["text"] for word in analyse(text)}
    assert any(word not in known for text in toy.splits["test"]["text"] for word in analyse(text))


def test_a_list_of_values_is_tuned_on_validation(toy: ToyNews) -> None:
    values = [1e-6, 1.0, 1e-5]
    tuned = TfidfClassifier(LinearSVC(C=values), longest=1, min_count=2, label_share=0.2)
    tuned.fit(toy)
    figures = []
    for value in values:
        alone = TfidfClassifier(LinearSVC(C=value), longest=1, min_count=2, label_share=0.2)
        alone.fit(toy)
        figures.append(alone.evaluate(toy, test=False).metrics)
    best = max(figures, key=lambda found: found["val/accuracy"])
    assert len({found["val/accuracy"] for found in figures}) > 1
    assert tuned.evaluate(toy, test=False).metrics == best
    facts = tuned.facts(toy)
    assert facts["tuned"] == {"C": values[figures.index(best)]}
    assert [trial["val/accuracy"] for trial in facts["tuning"]] == [
        pytest.approx(found["val/accuracy"]) for found in figures
    ]


def test_the_first_of_equal_values_is_taken(toy: ToyNews) -> None:
    model = TfidfClassifier(ComplementNB(alpha=[0.5, 0.5000001]), longest=1, min_count=2)
    model.fit(toy)
    assert model.tuned == {"alpha": 0.5}


def test_the_job_leaves_what_the_others_leave(script: Script, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    place = f"hydra.sweep.dir={folder}"
    script("train_tfidf", *CORPUS, "classifier=svm,logistic", place, "-m", output_dir=tmp_path)
    runs = sorted(file.parent for file in folder.glob("*/run.json"))
    assert len(runs) == 2
    assert "| ok |" in (folder / "sweep.md").read_text()
    for run in runs:
        record = read_record(run)
        assert record["data"]["test_rows"] == 200
        assert 0.25 < record["metrics"]["test/accuracy"] <= 1
        table = pq.read_table(run / "predictions/test.parquet").to_pydict()
        figure = accuracy_score(table["label"], table["predicted"])
        assert record["metrics"]["test/accuracy"] == pytest.approx(figure)
        assert set(table) == {
            "row",
            "label",
            "predicted",
            *(f"p({c})" for c in ToyNews.class_names),
        }
        assert (run / "figures/confusion_test.png").is_file()
        json.dumps(record)


def test_without_the_test_split(script: Script, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("evaluate_test=false", f"hydra.run.dir={run}")
    script("train_tfidf", *CORPUS, *options, output_dir=tmp_path)
    assert not any(name.startswith("test/") for name in read_record(run)["metrics"])
    assert not (run / "predictions/test.parquet").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features.longest=0", "features.longest is 0"),
        ("features.min_count=0.5", "features.min_count is 0.5; expected int"),
        ("classifier.C=-1", "features or classifier: The 'C' parameter"),
        ("features.min_count=5000", "features or classifier: "),
        ("features.characters=[2]", "features.characters is [2]; expected null, or the shortest"),
        ("features.characters=[3,2]", "features.characters is [3, 2]"),
        ("features.characters=3", "features.characters is 3"),
    ],
)
def test_mistakes_end_in_one_message(
    override: str, message: str, script: Script, tmp_path: Path
) -> None:
    result = script("train_tfidf", *CORPUS, override, output_dir=tmp_path, code=1)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_length_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"features\.min_count is 0"):
        TfidfClassifier(LinearSVC(), longest=1, min_count=0)
