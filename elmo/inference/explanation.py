"""Explanations of a prediction: the weight of each layer, and the effect of each word."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from elmo.data.batches import TOKEN_BUDGET, Batch, text_batches
from elmo.data.characters import Spellings
from elmo.data.text import UNK
from elmo.models.classifier import Prediction, TextClassifier


class Explanation(NamedTuple):
    """The prediction for one text, and what it rests on."""

    prediction: Prediction
    lambdas: list[float]  # (L,) mean gates over the words; over <s> and </s> where there are none
    words: list[tuple[str, float]]  # as written in the cleaned text, with their effects


@torch.no_grad()
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
    (prediction,) = model.predict([text])
    predicted = model.class_names.index(prediction.label)
    ((documents, batch),) = text_batches([text], model.encoder.tokenizer, token_budget)
    batch = batch.to(next(model.parameters()).device)
    gates = model.mixer.gates(model.layers(batch)).squeeze(1)  # (L, T)
    words = documents[0].words
    lambdas = (gates[:, 1:-1] if words else gates).mean(1)
    ids = batch.tokens[0]  # (T,)
    effects = torch.zeros(len(ids))
    read = torch.ones_like(ids[1:-1]) if batch.spellings is not None else ids[1:-1] != UNK
    for hidden in (read.nonzero().squeeze(1) + 1).split(max(1, token_budget // len(ids))):
        without = model.logits(_hide(batch, hidden)).softmax(1)[:, predicted]
        effects[hidden.cpu()] = prediction.probabilities[prediction.label] - without.cpu()
    return Explanation(
        prediction, lambdas.tolist(), list(zip(words, effects[1:-1].tolist(), strict=True))
    )


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
