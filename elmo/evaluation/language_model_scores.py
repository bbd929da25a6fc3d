"""The scores of a language model in its final evaluation, per direction and together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from elmo.data.batches import Batch
from elmo.data.text import SPECIAL_TOKENS, UNK
from elmo.models.language_model import LanguageModel

DIRECTIONS = ("forward", "backward", "together")
TOP = 5  # a target among as many words counts for top-5 accuracy
FREQUENT = 30  # words in the confusion matrix
FIRST_WORD = len(SPECIAL_TOKENS)

# Ids are in the order of frequency, so the rank of a word is its id minus the special tokens. The
# first two bands are `<unk>` and the marks `<s>` and `</s>`.
RANKS = (10, 100, 1_000, 10_000, 100_000)
POSITIONS = (0, 1, 2, 4, 8, 16, 32, 64)


class Group(NamedTuple):
    """The targets of one frequency band or one range of positions."""

    name: str
    targets: list[int]  # their number: forward, backward, together
    perplexity: list[float]  # forward, backward, together


class LanguageModelResult(NamedTuple):
    """The final evaluation of one split."""

    scalars: dict[str, float]  # "perplexity_forward", "perplexity_backward", "perplexity", ...
    by_frequency: list[Group]
    by_position: list[Group]
    confusion: Tensor  # (3, K + 1 true, K + 1 predicted); the last class is any other word


class LanguageModelScores(Metric):
    """Perplexity, top-1 and top-5 accuracy, and macro precision, recall and F1.

    Perplexity is also given by word frequency and by position, and the most frequent words have a
    confusion matrix. Counts are kept for each word, so memory grows with V and never with V x V:
    48 V bytes. Macro scores are means over the words that occur as targets; a word that is never
    predicted has precision 0. "Together" counts the targets of both directions.

    Args:
        vocab_size: V, number of words.
    """

    nll_by_band: Tensor
    count_by_band: Tensor
    nll_by_position: Tensor
    count_by_position: Tensor
    hits: Tensor
    predicted: Tensor
    targets: Tensor
    top_hits: Tensor
    confusion: Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.frequent = min(FREQUENT, vocab_size - FIRST_WORD)  # K
        bands, positions = len(RANKS) + 3, len(POSITIONS) + 1
        self._add("nll_by_band", bands, torch.float)
        self._add("count_by_band", bands, torch.long)
        self._add("nll_by_position", positions, torch.float)
        self._add("count_by_position", positions, torch.long)
        for name in ("hits", "predicted", "targets"):
            self._add(name, vocab_size, torch.long)
        self._add("top_hits", 1, torch.long)
        self._add("confusion", (self.frequent + 1) ** 2, torch.long)

    def _add(self, name: str, size: int, dtype: torch.dtype) -> None:
        self.add_state(name, torch.zeros(2, size, dtype=dtype), dist_reduce_fx="sum")

    def update(self, nll: Tensor, top: Tensor, targets: Tensor, positions: Tensor) -> None:
        """Add targets of both directions, forward first.

        Args:
            nll: negative log-likelihoods in nats, (2, N).
            top: the 5 most probable words, best first, (2, N, 5).
            targets: word ids, (2, N).
            positions: of the targets in their documents, where `<s>` is 0, (2, N).
        """
        best = top[..., 0]
        band = self._band(targets)
        place = torch.bucketize(positions, torch.tensor(POSITIONS, device=positions.device))
        for d in range(2):
            self.nll_by_band[d] += self._sum(band[d], nll[d], self.nll_by_band)
            self.count_by_band[d] += self._count(band[d], self.count_by_band)
            self.nll_by_position[d] += self._sum(place[d], nll[d], self.nll_by_position)
            self.count_by_position[d] += self._count(place[d], self.count_by_position)
            self.hits[d] += self._count(targets[d][best[d] == targets[d]], self.hits)
            self.predicted[d] += self._count(best[d], self.predicted)
            self.targets[d] += self._count(targets[d], self.targets)
            self.top_hits[d] += (top[d] == targets[d].unsqueeze(1)).any(1).sum()
            cells = self._frequent(targets[d]) * (self.frequent + 1) + self._frequent(best[d])
            self.confusion[d] += self._count(cells, self.confusion)

    @torch.no_grad()
    def add(self, model: LanguageModel, batch: Batch) -> None:
        """Add the targets of a batch and the predictions of a language model in eval mode."""
        hidden, targets = model.hidden_and_targets(batch.tokens, batch.lengths, batch.spellings)
        flat = hidden.flatten(0, 1)  # (2 N, D/2)
        nll = model.softmax(flat, targets.flatten()).view_as(targets)
        k = min(TOP, model.softmax.vocab_size)
        top = model.softmax.topk(flat, k).view(*targets.shape, k)
        longest = batch.tokens.shape[1]
        places = torch.arange(1, longest, device=targets.device).expand(len(batch.tokens), -1)
        ahead = places[places < batch.lengths.unsqueeze(1)]  # (N,), in the order of the targets
        self.update(nll, top, targets, torch.stack([ahead, ahead - 1]))

    @staticmethod
    def _count(index: Tensor, like: Tensor) -> Tensor:
        return torch.bincount(index, minlength=like.shape[1])

    @staticmethod
    def _sum(index: Tensor, values: Tensor, like: Tensor) -> Tensor:
        return torch.zeros_like(like[0]).index_add_(0, index, values.to(like.dtype))

    @staticmethod
    def _band(words: Tensor) -> Tensor:
        ranks = words - FIRST_WORD + 1
        bands = 2 + torch.bucketize(ranks, torch.tensor(RANKS, device=words.device))
        return torch.where(words >= FIRST_WORD, bands, (words != UNK).long())

    def _frequent(self, words: Tensor) -> Tensor:
        """Return 0 .. K-1 for the K most frequent words, K for any other."""
        places = words - FIRST_WORD
        return torch.where((places >= 0) & (places < self.frequent), places, self.frequent)

    def compute(self) -> LanguageModelResult:
        hits, predicted, targets = map(_with_sum, (self.hits, self.predicted, self.targets))
        nll, total = _with_sum(self.nll_by_band).sum(1), targets.sum(1)
        occurs = targets > 0
        # Where a count is zero, its hits are zero: then the score is 0 whatever the divisor is.
        precision = hits / predicted.clamp(min=1)
        recall = hits / targets.clamp(min=1)
        f1 = 2 * hits / (predicted + targets).clamp(min=1)
        figures = {
            "loss": nll / total,
            "perplexity": (nll / total).exp(),
            "accuracy": hits.sum(1) / total,
            "top5_accuracy": _with_sum(self.top_hits).sum(1) / total,
            **{
                name: (score * occurs).sum(1) / occurs.sum(1)
                for name, score in (("precision", precision), ("recall", recall), ("f1", f1))
            },
        }
        scalars = {
            name if direction == "together" else f"{name}_{direction}": value
            for name, values in figures.items()
            for direction, value in zip(DIRECTIONS, values.tolist(), strict=True)
        }
        size = self.frequent + 1
        return LanguageModelResult(
            scalars,
            _groups(band_names(), self.nll_by_band, self.count_by_band),
            _groups(position_names(), self.nll_by_position, self.count_by_position),
            _with_sum(self.confusion).view(3, size, size).cpu(),
        )


def band_names() -> list[str]:
    """Return the names of the frequency bands."""
    starts = [1, *(rank + 1 for rank in RANKS)]
    ranks = [f"{start:,} to {end:,}" for start, end in zip(starts, RANKS, strict=False)]
    return ["<unk>", "<s> or </s>", *ranks, f"{starts[-1]:,} on"]


def position_names() -> list[str]:
    """Return the names of the ranges of positions."""
    starts = [0, *(position + 1 for position in POSITIONS)]
    spans = [
        f"{start}" if start == end else f"{start} to {end}"
        for start, end in zip(starts, POSITIONS, strict=False)
    ]
    return [f"{spans[0]} (<s>)", *spans[1:], f"{starts[-1]} on"]


def _with_sum(values: Tensor) -> Tensor:
    """Return forward and backward (2, ...) followed by both together (3, ...)."""
    return torch.cat([values, values.sum(0, keepdim=True)])


def _groups(names: list[str], nll: Tensor, count: Tensor) -> list[Group]:
    """Return the groups that have targets; a group is a column of `nll` and `count` (2, groups)."""
    counts: list[list[int]] = _with_sum(count).T.tolist()
    sums: list[list[float]] = _with_sum(nll).T.tolist()
    return [
        Group(name, number, [_perplexity(s, n) for s, n in zip(total, number, strict=True)])
        for name, number, total in zip(names, counts, sums, strict=True)
        if number[-1]
    ]


def _perplexity(nll: float, targets: int) -> float:
    """Return a perplexity, NaN without targets, infinite where the exponential is too large."""
    try:
        return math.exp(nll / targets) if targets else math.nan
    except OverflowError:
        return math.inf


def as_record(result: LanguageModelResult) -> dict[str, Any]:
    """Return the tables of a result as plain data, for `metrics.json`."""

    def table(groups: list[Group]) -> list[dict[str, Any]]:
        return [
            {
                "group": group.name,
                "targets": dict(zip(DIRECTIONS, group.targets, strict=True)),
                "perplexity": dict(zip(DIRECTIONS, group.perplexity, strict=True)),
            }
            for group in groups
        ]

    return {
        "perplexity_by_frequency": table(result.by_frequency),
        "perplexity_by_position": table(result.by_position),
    }


def evaluate_language_model(model: LanguageModel, batches: Iterable[Batch]) -> LanguageModelResult:
    """Return the scores of a language model in eval mode, on the device of its weights."""
    device = next(model.parameters()).device
    scores = LanguageModelScores(model.softmax.vocab_size).to(device)
    for batch in batches:
        scores.add(model, batch.to(device))
    return scores.compute()
