"""Explanations of a prediction: the weight of each layer, and the effect of each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from elmo.data.batches import TOKEN_BUDGET, Batch, text_batches
from elmo.data.characters import Spellings
from elmo.data.text import UNK
from elmo.models.classifier import Prediction, TextClassifier
from elmo.models.encoders import Encoder


class Explanation(NamedTuple):
    """The prediction for one text, and what it rests on."""

    prediction: Prediction
    lambdas: list[float]  # (L,) mean gates over the words; over <s> and </s> where there are none
    words: list[tuple[str, float]]  # as written in the cleaned text, with their effects


class DetailedExplanation(NamedTuple):
    """An explanation with the weight of each layer for each word."""

    explanation: Explanation
    gates: Tensor  # (L, W) see `Mixer.gates`


def explain(model: TextClassifier, text: str, token_budget: int = TOKEN_BUDGET) -> Explanation:
    """Explain a prediction by occlusion: what the predicted class loses when a word is hidden.

    effect of a word = p(class | text) - p(class | text with `<unk>` in place of the word), so a
    positive effect means that the word supports the class (Zeiler and Fergus 2014, section 4.2; for
    words Li et al. 2016, "Understanding neural networks through representation erasure"). A word
    that is not in the vocabulary is `<unk>` already and has effect 0. Effects do not add up to the
    probability. Leaves the model in eval mode.

    Args:
        text: cleaned and tokenized here; an empty one has no words.
        token_budget: tokens classified at a time, at most, or one text. W words of T tokens are
            W x T tokens in all.
    """
    return explain_side_by_side([model], text, token_budget)[0].explanation


@torch.no_grad()
def explain_side_by_side(
    models: Sequence[TextClassifier], text: str, token_budget: int = TOKEN_BUDGET
) -> list[DetailedExplanation]:
    """Explain the predictions of several classifiers for one text; see `explain`.

    Classifiers that share an encoder, as one object, share the computation of its layers.
    """
    by_encoder: dict[Encoder, list[TextClassifier]] = {}
    for model in models:
        by_encoder.setdefault(model.eval().encoder, []).append(model)
    found: dict[TextClassifier, DetailedExplanation] = {}
    for sharing in by_encoder.values():
        found |= zip(sharing, _explain(sharing, text, token_budget), strict=True)
    return [found[model] for model in models]


def _explain(
    models: Sequence[TextClassifier], text: str, token_budget: int
) -> list[DetailedExplanation]:
    """Explain the predictions of classifiers that share an encoder."""
    ((documents, batch),) = text_batches([text], models[0].encoder.tokenizer, token_budget)
    batch = batch.to(next(models[0].parameters()).device)
    layers = models[0].layers(batch)  # (L, 1, T, D)
    whole = [model.scores(layers, batch.mask).softmax(1)[0] for model in models]  # (C,) each
    predicted = [int(probabilities.argmax()) for probabilities in whole]
    words = documents[0].words
    ids = batch.tokens[0]  # (T,)
    effects = torch.zeros(len(models), len(ids))
    read = torch.ones_like(ids[1:-1]) if batch.spellings is not None else ids[1:-1] != UNK
    for hidden in (read.nonzero().squeeze(1) + 1).split(max(1, token_budget // len(ids))):
        without = _hide(batch, hidden)
        layers_without = models[0].layers(without)  # (L, B, T, D)
        for row, model in enumerate(models):
            scores = model.scores(layers_without, without.mask)  # (B, C)
            loss = whole[row][predicted[row]] - scores.softmax(1)[:, predicted[row]]
            effects[row, hidden.cpu()] = loss.cpu()
    found = []
    for row, model in enumerate(models):
        gates = model.mixer.gates(layers).squeeze(1).cpu()  # (L, T)
        of_words = gates[:, 1:-1]
        prediction = Prediction(
            model.class_names[predicted[row]],
            dict(zip(model.class_names, whole[row].tolist(), strict=True)),
        )
        explanation = Explanation(
            prediction,
            (of_words if words else gates).mean(1).tolist(),
            list(zip(words, effects[row, 1:-1].tolist(), strict=True)),
        )
        found.append(DetailedExplanation(explanation, of_words))
    return found


def _hide(batch: Batch, positions: Tensor) -> Batch:
    """Return B copies of the one document of a batch, each without the word at one position.

    The word becomes `<unk>`, or, where the model reads characters and knows no such word, its
    vector is zero.

    Args:
        positions: of the words (B,).
    """
    count = len(positions)
    copies = torch.arange(count, device=positions.device)
    tokens = batch.tokens.repeat(count, 1)  # (B, T)
    tokens[copies, positions] = UNK
    spellings = None
    if batch.spellings is not None:
        characters, places, numbers = batch.spellings
        nothing = torch.zeros_like(characters[:1])
        places = places.repeat(count, 1)  # (B, T)
        places[copies, positions] = len(characters)
        numbers = torch.cat([numbers, torch.zeros_like(numbers[:1])])
        spellings = Spellings(torch.cat([characters, nothing]), places, numbers)
    lengths, label, row = (field.expand(count) for field in batch[1:4])
    return Batch(tokens, lengths, label, row, spellings=spellings)
