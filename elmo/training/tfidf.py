"""TF-IDF and a linear classifier by scikit-learn: what practitioners use instead."""

from __future__ import annotations

import logging
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.special import softmax
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid, StratifiedGroupKFold, cross_val_predict
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC

from elmo.data.corpus import Corpus, column, texts_of
from elmo.data.splitting import stratified_sample, text_digests
from elmo.errors import ConfigError, check_range
from elmo.evaluation.metrics import per_class_metrics, probability_metrics
from elmo.evaluation.results import (
    PREFIX,
    ClassificationResult,
    Evaluation,
    splits_to_evaluate,
)

log = logging.getLogger(__name__)

Linear: TypeAlias = LinearSVC | LogisticRegression | ComplementNB


class TfidfClassifier:
    """A linear classifier of the n-grams of a text, weighted by TF-IDF.

    Args:
        linear: an untrained classifier of scikit-learn. A setting of it that is a list is tuned:
            the value of highest validation accuracy is taken, the first of those that are equal.
        longest: words of an n-gram, at most.
        min_count: rows in which an n-gram has to occur.
        label_share: see `elmo.data.classification_data.ClassificationData`; n-grams are counted in
            all rows.
        seed: draws the rows of `label_share`.
        characters: shortest and longest n-gram of the characters of a word, the spaces around it
            included, beside those of words; None for none.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        linear: Linear,
        longest: int,
        min_count: int,
        label_share: float = 1.0,
        seed: int = 0,
        characters: list[int] | None = None,
    ) -> None:
        check_range({"label_share": label_share}, above=0, at_most=1)
        counts = {"features.longest": longest, "features.min_count": min_count}
        check_range(counts, at_least=1)
        self.linear = linear
        self.label_share = label_share
        self.seed = seed
        shared: dict[str, Any] = {"min_df": min_count, "sublinear_tf": True}
        vectorizers = [("words", TfidfVectorizer(ngram_range=(1, longest), **shared))]
        if characters is not None:
            _check_characters(characters)
            ngrams = TfidfVectorizer(analyzer="char_wb", ngram_range=tuple(characters), **shared)
            vectorizers.append(("characters", ngrams))
        self.features = FeatureUnion(vectorizers)
        self.tuning: list[dict[str, Any]] = []  # what was tried, with its validation accuracy
        self.tuned: dict[str, Any] = {}  # the best of it

    def fit(self, corpus: Corpus) -> None:
        """Train on the train split; counts, weights and classifier see no other.

        Settings that are lists are chosen on the validation split.

        Raises:
            ConfigError: settings that scikit-learn refuses, or a corpus without classes.
        """
        corpus.check_classes()
        rows = corpus.splits["train"]
        labels = column(rows, "label")
        chosen = self.labelled_rows(corpus)
        try:
            self._of_train = self.features.fit_transform(list(texts_of(rows)))
            self._fit_best(self._of_train[chosen], labels[chosen], corpus)
        except ValueError as error:
            raise ConfigError(f"features or classifier: {error}") from error

    def _fit_best(self, features: csr_matrix, labels: np.ndarray, corpus: Corpus) -> None:
        """Fit the classifier, with each combination of the values that are lists."""
        tuned = {k: v for k, v in self.linear.get_params().items() if isinstance(v, list)}
        if not tuned:
            self.linear.fit(features, labels)
            return
        held_out = self._features_of(corpus, "validation")
        expected = column(corpus.splits["validation"], "label")
        untrained, best = self.linear, -1.0
        for values in ParameterGrid(tuned):
            linear = clone(untrained).set_params(**values).fit(features, labels)
            accuracy = float(linear.score(held_out, expected))
            log.info("%s: validation accuracy %.4f", values, accuracy)
            self.tuning.append({**values, "val/accuracy": accuracy})
            if accuracy > best:
                best, self.linear, self.tuned = accuracy, linear, values

    def out_of_fold(self, corpus: Corpus, folds: int) -> np.ndarray:
        """Return probabilities (N, C) for the train rows, by classifiers trained on other folds.

        The folds are drawn by `seed`, with nearly equal shares of each class; rows with the same
        text are in one fold, so that no row is judged by its copy. n-grams are counted and weighted
        in all train rows, which needs no labels.

        Raises:
            ConfigError: there are fewer than two folds, or more than rows of a class.
        """
        corpus.check_classes()
        rows = corpus.splits["train"]
        labels = column(rows, "label")
        fewest = int(np.bincount(labels, minlength=len(corpus.class_names)).min())
        check_range({"the number of folds": folds}, at_least=2, at_most=fewest)
        texts = list(texts_of(rows))
        return cross_val_predict(
            self.linear,
            self.features.fit_transform(texts),
            labels,
            groups=np.unique(text_digests(texts), return_inverse=True)[1],
            cv=StratifiedGroupKFold(folds, shuffle=True, random_state=self.seed),
            method="predict_proba",
        )

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
        features = self._features_of(corpus, split)
        if self.gives_probabilities:
            return self.linear.predict_proba(features)
        return softmax(self.linear.decision_function(features), axis=1)

    def _features_of(self, corpus: Corpus, split: str) -> csr_matrix:
        if split == "train":  # computed before, and the largest
            return self._of_train
        return self.features.transform(list(texts_of(corpus.splits[split])))

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
            **corpus.identity,
            **corpus.facts,
            "labelled_rows": len(self.labelled_rows(corpus)),
        }
        count = sum(len(part.vocabulary_) for _, part in self.features.transformer_list)
        facts = {"data": data, "features": count, "device": "cpu"}
        return facts | ({"tuned": self.tuned, "tuning": self.tuning} if self.tuning else {})


def _check_characters(characters: list[int]) -> None:
    """Check that these are the shortest and the longest n-gram; raise `ConfigError` otherwise."""
    whole = all(isinstance(length, int) for length in characters)
    if len(characters) != 2 or not whole or not 1 <= characters[0] <= characters[1]:
        raise ConfigError(
            f"features.characters is {characters}; expected null, or the shortest and the longest "
            "n-gram, such as [2,5]"
        )
