"""TF-IDF and a linear classifier by scikit-learn: what practitioners use instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from elmo.data.corpus import Corpus, column, texts_of
from elmo.data.splitting import stratified_sample
from elmo.errors import ConfigError, check_range
from elmo.evaluation.metrics import per_class_metrics, probability_metrics
from elmo.evaluation.results import (
    PREFIX,
    ClassificationResult,
    Evaluation,
    splits_to_evaluate,
)


class TfidfClassifier:
    """A linear classifier of the n-grams of a text, weighted by TF-IDF.

    Args:
        linear: an untrained classifier of scikit-learn.
        longest: words of an n-gram, at most.
        min_count: rows in which an n-gram has to occur.
        label_share: see `elmo.data.datamodule.ClassificationData`; n-grams are counted in all rows.
        seed: draws the rows of `label_share`.
    """

    def __init__(
        self,
        linear: LinearSVC | LogisticRegression,
        longest: int,
        min_count: int,
        label_share: float = 1.0,
        seed: int = 0,
    ) -> None:
        check_range({"label_share": label_share}, above=0, at_most=1)
        counts = {"features.longest": longest, "features.min_count": min_count}
        check_range(counts, at_least=1)
        self.linear = linear
        self.label_share = label_share
        self.seed = seed
        self.features = TfidfVectorizer(
            ngram_range=(1, longest), min_df=min_count, sublinear_tf=True
        )

    def fit(self, corpus: Corpus) -> None:
        """Train on the train split; counts, weights and classifier see no other.

        Raises:
            ConfigError: settings that scikit-learn refuses, or a corpus without classes.
        """
        corpus.check_classes()
        rows = corpus.splits["train"]
        labels = column(rows, "label")
        chosen = self.labelled_rows(corpus)
        try:
            features = self.features.fit_transform(texts_of(rows))
            self.linear.fit(features[chosen], labels[chosen])
        except ValueError as error:
            raise ConfigError(f"features or classifier: {error}") from error

    def labelled_rows(self, corpus: Corpus) -> np.ndarray:
        """Return the positions in the train split of the rows whose labels are used (N',)."""
        labels = column(corpus.splits["train"], "label")
        return stratified_sample(labels, self.label_share, self.seed)

    @property
    def gives_probabilities(self) -> bool:
        """Whether the scores are trained to be probabilities: those of an SVM are not."""
        return hasattr(self.linear, "predict_proba")

    def scores(self, corpus: Corpus, split: str) -> np.ndarray:
        """Return scores (N, C) that sum to one: probabilities, or the softmax of the margins."""
        features = self.features.transform(texts_of(corpus.splits[split]))
        if self.gives_probabilities:
            return self.linear.predict_proba(features)
        return softmax(self.linear.decision_function(features), axis=1)

    def evaluate(self, corpus: Corpus, test: bool = True) -> Evaluation[ClassificationResult]:
        """Evaluate on train, validation and, if `test`, the test split.

        The metrics are those of the classifiers on layers. Loss and calibration error are left out
        where the scores are no probabilities.
        """
        metrics: dict[str, float] = {}
        results: dict[str, ClassificationResult] = {}
        for split in splits_to_evaluate(test):
            labels = torch.from_numpy(column(corpus.splits[split], "label"))
            rows = torch.arange(len(labels))
            if split == "train":
                rows = torch.from_numpy(self.labelled_rows(corpus))
            labels = labels[rows]
            probabilities = torch.from_numpy(self.scores(corpus, split)).float()[rows]
            found = probability_metrics(probabilities, labels)
            per_class = per_class_metrics(probabilities.shape[1])
            results[split] = ClassificationResult(
                rows,
                labels,
                probabilities,
                per_class(probabilities, labels),
                [],
                found["ece"],
            )
            if not self.gives_probabilities:
                del found["loss"], found["ece"]
            metrics |= {f"{PREFIX[split]}/{name}": value for name, value in found.items()}
        return Evaluation(metrics, results)

    def facts(self, corpus: Corpus) -> dict[str, Any]:
        """Return what `metrics.json` records of the data and the model."""
        data = {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            **corpus.facts,
            "labelled_rows": len(self.labelled_rows(corpus)),
        }
        return {"data": data, "features": len(self.features.vocabulary_), "device": "cpu"}
