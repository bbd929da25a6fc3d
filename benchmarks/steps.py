"""Training steps timed by their parts, and batches with words that follow Zipf's law."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer

from benchmarks.place import Place
from elmo.data.batches import Batch
from elmo.data.text import BOS, EOS, PAD, SPECIAL_TOKENS
from elmo.models.language_model import LanguageModel

PARTS = ("forward", "backward", "clipping", "optimizer")
CPU = Place()
BEND = 5_000  # beyond this rank, words become rare faster


def step(
    model: LanguageModel, optimizer: Optimizer, batch: Batch, limit: float, place: Place = CPU
) -> dict[str, float]:
    """Do a training step, clipped to `limit` as in `elmo.training.task`; return seconds by part.

    Those of a GPU, which computes later, say nothing.
    """
    times = [time.perf_counter()]
    optimizer.zero_grad()
    with place.autocast():
        loss = model(batch.tokens, batch.lengths).mean()
    times.append(time.perf_counter())
    loss.backward()
    times.append(time.perf_counter())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if get_total_norm(gradients) > limit:
        clip_grad_norm_(model.parameters(), limit)
    times.append(time.perf_counter())
    optimizer.step()
    times.append(time.perf_counter())
    return dict(zip(PARTS, np.diff(times).tolist(), strict=True))


class Zipf:
    """Random words with P(k) ~ 1/k up to rank `BEND` and 1/k^1.7 beyond, as in AG News.

    Args:
        vocab_size: V, including the special tokens, which are never drawn.
        seed: seed of the draws.
    """

    def __init__(self, vocab_size: int, seed: int) -> None:
        ranks = np.arange(1, vocab_size - len(SPECIAL_TOKENS) + 1, dtype=np.float64)
        weights = np.where(ranks <= BEND, 1 / ranks, (BEND / ranks) ** 1.7 / BEND)
        self.cumulated = weights.cumsum() / weights.sum()
        self.random = np.random.default_rng(seed)

    def words(self, count: int) -> Tensor:
        """Draw word ids (count,)."""
        ranks = self.cumulated.searchsorted(self.random.random(count), side="right")
        return torch.from_numpy(ranks) + len(SPECIAL_TOKENS)

    def replace_words(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the same batches with random words in the place of theirs."""
        for batch in batches:
            tokens = batch.tokens.clone()
            words = (tokens != PAD) & (tokens != BOS) & (tokens != EOS)
            tokens[words] = self.words(int(words.sum()))
            yield batch._replace(tokens=tokens)

    def documents(self, length: int, token_budget: int) -> Iterator[Batch]:
        """Yield batches of documents of `length` tokens, `<s>` and `</s>` included."""
        count = max(1, token_budget // length)
        while True:
            tokens = self.words(count * length).view(count, length)
            tokens[:, 0], tokens[:, -1] = BOS, EOS
            rows = torch.arange(count)
            yield Batch(tokens, torch.full((count,), length), torch.zeros_like(rows), rows)
