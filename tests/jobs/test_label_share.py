"""Few labels: only the rows that are drawn are trained on, and evaluated as the train split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from conftest import TINY_CLS, Script
from data.test_batches import flat
from data.test_datamodule import epoch
from elmo.data.classification_data import ClassificationData
from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import column
from elmo.data.splitting import stratified_sample
from elmo.errors import ConfigError
from elmo.runs.record import read_record
from elmo.training.tfidf import TfidfClassifier


def classification_data(toy: ToyNews, share: float, seed: int = 0) -> ClassificationData:
    return ClassificationData(
        corpus=toy, token_budget=512, num_workers=0, seed=seed, label_share=share
    )


def test_training_and_its_evaluation_see_the_labelled_rows_alone(toy: ToyNews) -> None:
    data = classification_data(toy, 0.1)
    rows = stratified_sample(column(toy.splits["train"], "label"), 0.1, seed=0).tolist()
    assert sorted(flat(epoch(data, 0))) == rows
    assert epoch(data, 0) != epoch(data, 1)
    evaluated = [batch.row.tolist() for batch in data.evaluation_loader("train")]
    assert sorted(flat(evaluated)) == rows
    assert data.facts["labelled_rows"] == len(rows) < data.facts["train_rows"]
    for split in ("validation", "test"):
        found = [batch.row.tolist() for batch in data.evaluation_loader(split)]
        assert sorted(flat(found)) == list(range(200))


def test_all_labels_are_the_whole_split(toy: ToyNews) -> None:
    data = classification_data(toy, 1)
    assert sorted(flat(epoch(data, 0))) == list(range(len(toy.splits["train"])))


def test_an_impossible_share_is_refused_at_once(toy: ToyNews) -> None:
    with pytest.raises(ConfigError, match="label_share is 0"):
        classification_data(toy, 0)
    with pytest.raises(ConfigError, match="label_share is 2"):
        TfidfClassifier(LinearSVC(), longest=1, min_count=1, label_share=2)


def test_tfidf_counts_words_in_all_rows_and_learns_from_the_labelled(toy: ToyNews) -> None:
    model = TfidfClassifier(LinearSVC(C=0.3), longest=1, min_count=2, label_share=0.2, seed=3)
    model.fit(toy)
    figures, results, *_ = model.evaluate(toy)
    train, test = toy.splits["train"], toy.splits["test"]
    rows = stratified_sample(column(train, "label"), 0.2, seed=3)
    vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True)
    features = vectorizer.fit_transform(list(train["text"]))
    linear = LinearSVC(C=0.3).fit(features[rows], column(train, "label")[rows])
    predicted = linear.predict(vectorizer.transform(list(test["text"])))
    assert results["test"].probabilities.argmax(1).tolist() == predicted.tolist()
    assert results["train"].rows.tolist() == rows.tolist()
    right = linear.predict(features[rows]) == column(train, "label")[rows]
    assert figures["train/accuracy"] == pytest.approx(right.mean())


def test_the_job_keeps_to_its_labelled_rows(
    script: Script, pretrained: Path, tmp_path: Path, toy: ToyNews
) -> None:
    bilm = f"bilm_path={next(pretrained.glob('train_lm/*'))}"
    run = tmp_path / "run"
    options = (bilm, "label_share=0.05", "seed=2", f"hydra.run.dir={run}")
    script("train_cls", *TINY_CLS, *options, output_dir=tmp_path)
    rows = stratified_sample(column(toy.splits["train"], "label"), 0.05, seed=2)
    table = pq.read_table(run / "predictions/train.parquet")
    expected = column(toy.splits["train"], "row")[rows]
    assert np.array_equal(table["row"].to_numpy(), expected)
    assert read_record(run)["data"]["labelled_rows"] == len(rows)
    wrong = script("train_cls", *TINY_CLS, bilm, "label_share=0", output_dir=tmp_path, code=1)
    assert "label_share is 0; expected more than 0" in wrong.stderr
    assert "Traceback" not in wrong.stderr
