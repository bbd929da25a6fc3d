"""The n-gram language model of both directions: the reference of a biLM's perplexity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from elmo.data.corpus import Corpus
from elmo.data.datamodule import TokenData
from elmo.errors import check_range
from elmo.evaluation.language_model_scores import DIRECTIONS, LanguageModelResult
from elmo.evaluation.results import PREFIX, Evaluation, splits_to_evaluate
from elmo.models.kneser_ney import KneserNey, both_directions


class NgramLanguageModel:
    """A Kneser-Ney model of each direction, over the vocabulary and the targets of a biLM.

    The forward targets are the words, `<unk>` and `</s>`, the backward ones the words, `<unk>` and
    `<s>`, as in `elmo.models.language_model.LanguageModel`: so perplexities compare.

    Args:
        order: words of an n-gram, at most.
        max_tokens: see `elmo.data.datamodule.TokenData`.
    """

    def __init__(self, order: int, max_tokens: int) -> None:
        check_range({"ngram.order": order}, at_least=1)
        check_range({"ngram.max_tokens": max_tokens}, at_least=3)
        self.order = order
        self.max_tokens = max_tokens
        self.directions: list[KneserNey] = []

    def data(self, corpus: Corpus) -> TokenData:
        """Return the token ids of a corpus; they are never batched."""
        return TokenData(corpus, self.max_tokens, num_workers=0, seed=0, max_tokens=self.max_tokens)

    def fit(self, data: TokenData) -> None:
        """Count the train split, once for each direction."""
        train = data.splits["train"]
        self.directions = []
        for documents in both_directions(np.asarray(train.tokens), train.lengths):
            model = KneserNey(self.order, len(data.tokenizer))
            model.fit(*documents)
            self.directions.append(model)

    def evaluate(self, data: TokenData, test: bool = True) -> Evaluation[LanguageModelResult]:
        """Return loss and perplexity on train, validation and, if `test`, the test split."""
        metrics: dict[str, float] = {}
        for split in splits_to_evaluate(test):
            tokens, lengths = np.asarray(data.splits[split].tokens), data.splits[split].lengths
            losses = [
                float(model.nll(*documents).mean())
                for model, documents in zip(
                    self.directions, both_directions(tokens, lengths), strict=True
                )
            ]
            losses.append(sum(losses) / 2)  # both directions have as many targets
            for direction, loss in zip(DIRECTIONS, losses, strict=True):
                end = "" if direction == "together" else f"_{direction}"
                metrics[f"{PREFIX[split]}/loss{end}"] = loss
                metrics[f"{PREFIX[split]}/perplexity{end}"] = math.exp(loss)
        return Evaluation(metrics, {})

    def facts(self) -> dict[str, Any]:
        """Return what `metrics.json` records of the model: its n-grams by order, forward."""
        return {"ngrams": self.directions[0].sizes, "device": "cpu"}
