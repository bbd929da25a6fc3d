"""What a language model expects at every gap of a text, and how much each word surprises it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from elmo.data.batches import text_batches
from elmo.data.text import BOS, EOS, PAD, UNK
from elmo.models.language_model import LanguageModel

LARGEST = 2**22  # log-probabilities held at a time


class Expected(NamedTuple):
    """A word that a direction expects at a gap."""

    word: str  # as in the vocabulary; </s> and <s> are the ends of the text
    probability: float


class Gap(NamedTuple):
    """What both directions expect at a gap, which lies between two words or at an end."""

    forward: list[Expected]  # the word after the gap, given all words before it
    backward: list[Expected]  # the word before the gap, given all words after it


class WordPredictions(NamedTuple):
    """The predictions of a language model for a text of W words, W + 1 gaps."""

    words: list[str]  # (W,) as written in the cleaned text
    unknown: list[bool]  # (W,) read as <unk>, and expected as such
    forward: list[float]  # (W + 1,) bits: -log2 p of each word and of </s>, given what is before
    backward: list[float]  # (W + 1,) bits: of <s> and of each word, given what is after
    gaps: list[Gap]  # (W + 1,) gap i is before word i

    def perplexity(self, direction: str) -> float:
        """Return 2 to the mean bits of `direction`, "forward" or "backward"."""
        bits = self.forward if direction == "forward" else self.backward
        return 2 ** (sum(bits) / len(bits))


@torch.no_grad()
def predict_words(model: LanguageModel, text: str, count: int = 10) -> WordPredictions:
    """Return what a language model in eval mode predicts for a text, direction by direction.

    Surprise is Shannon's: -log2 of the probability (Hale 2001, "A probabilistic Earley parser as a
    psycholinguistic model", for words given those before them).

    Args:
        text: cleaned and tokenized here; an empty one has one gap, between both ends.
        count: words that each direction expects most, per gap; at most V.
    """
    tokenizer = model.tokenizer
    ((documents, batch),) = text_batches([text], tokenizer, None)
    batch = batch.to(next(model.parameters()).device)
    inputs = batch.tokens, batch.lengths, batch.spellings
    hidden, targets = model.hidden_and_targets(*inputs)  # (2, N, D/2), (2, N); N = W + 1
    nll = model.softmax(hidden.flatten(0, 1), targets.flatten()).view_as(targets).cpu()  # (2, N)
    forward_bits, backward_bits = (nll / math.log(2)).tolist()
    # Padding and the mark from which a direction starts are never targets in pretraining.
    never = (PAD, BOS), (PAD, EOS)
    forward, backward = (
        _expected(model, states, list(excluded), count)
        for states, excluded in zip(hidden, never, strict=True)
    )
    words = documents[0].words
    ids = documents[0].ids[1:-1]
    unknown = [bool(id_ == UNK) for id_ in ids]
    gaps = [Gap(*pair) for pair in zip(forward, backward, strict=True)]
    return WordPredictions(words, unknown, forward_bits, backward_bits, gaps)


def _expected(
    model: LanguageModel, hidden: Tensor, never: list[int], count: int
) -> list[list[Expected]]:
    """Return the most probable words of each state of hidden (N, D/2), best first."""
    words = model.tokenizer.words
    found = []
    for states in hidden.split(max(1, LARGEST // len(words))):
        log_probs = model.softmax.log_prob(states).float().cpu()  # (n, V)
        log_probs[:, never] = -torch.inf
        best = log_probs.topk(min(count, len(words) - len(never)))
        for values, ids in zip(best.values.exp().tolist(), best.indices.tolist(), strict=True):
            found.append([Expected(words[i], p) for i, p in zip(ids, values, strict=True)])
    return found
