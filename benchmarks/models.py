"""The language models that the benchmarks train: ours as configured, and its peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elmo.data.batches import Batch, pad
from elmo.data.datamodule import TokenData
from elmo.data.language_model_data import LanguageModelData
from elmo.data.text import PAD
from elmo.data.tokens import TokenizedSplit
from elmo.models.language_model import LanguageModel
from elmo.modules.bilm import BiLM, LSTMStack
from elmo.modules.softmax import AdaptiveSoftmax
from elmo.training.language_model_task import LanguageModelTask

make = partial(instantiate, _convert_="all")


def language_model(cfg: Any) -> tuple[LanguageModelTask, LanguageModelData]:
    """Build model and data of `train_lm.py` with these settings."""
    torch.manual_seed(cfg.seed)
    corpus = make(cfg.data)
    data = make(cfg.datamodule)(corpus=corpus, tokenizer=corpus.tokenizer)
    vocabulary = len(corpus.tokenizer)
    bilm = make(cfg.bilm)(vocab_size=vocabulary, embedding_dim=cfg.embedding.dim)
    softmax = make(cfg.softmax)(dim=bilm.hidden_dim, vocab_size=vocabulary)
    model = LanguageModel(bilm, softmax)
    return LanguageModelTask(model, optimizer=make(cfg.optimizer), warmup=cfg.warmup), data


def corpus_facts(data: TokenData) -> dict[str, Any]:
    """Return the facts of the data that belong to the figures of a benchmark."""
    names = ("name", "train_rows", "validation_rows", "vocabulary_size", "unknown_rate")
    return {name: data.facts[name] for name in names}


def model_flops(model: LanguageModel, batch: Batch) -> float:
    """Count multiplications and additions in a training step's matrix products, for real tokens.

    Forward, with n real tokens, m = n - B targets per direction, H the width of a direction:
    2 directions x num_layers x 8 H (H + H) n for the LSTMs, 2 E H n for the projection if E differs
    from H, 2 x 2 m H |head| for the head of the adaptive softmax, and 2 (H w + w |cluster|) for
    each target in a cluster of width w. Backward costs twice as much as forward, so the sum is
    multiplied by three. Lookups, gates, dropout, normalisation and optimizer are not counted.
    """
    bilm, softmax = model.bilm, model.softmax
    assert isinstance(softmax, AdaptiveSoftmax)
    width = bilm.hidden_dim
    tokens = int(batch.lengths.sum())
    flops = 2 * bilm.num_layers * 8 * width * (width + width) * tokens
    if bilm.embedding_dim != width:
        flops += 2 * bilm.embedding_dim * width * tokens
    left = torch.cat([ids[: n - 1] for ids, n in zip(batch.tokens, batch.lengths, strict=True)])
    right = torch.cat([ids[1:n] for ids, n in zip(batch.tokens, batch.lengths, strict=True)])
    targets = torch.cat([left, right])
    output = softmax.output
    flops += 2 * len(targets) * width * output.head.out_features
    for start, end, cluster in zip(
        output.cutoffs[:-1], output.cutoffs[1:], output.tail, strict=True
    ):
        inside = int(((targets >= start) & (targets < end)).sum())
        flops += 2 * inside * sum(map(Tensor.numel, cluster.parameters()))
    return 3.0 * flops


class PackedStack(LSTMStack):
    """The same layers on packed sequences, the usual way to handle documents of several lengths."""

    lengths: Tensor

    def forward(self, inputs: Tensor, *_: Any) -> list[Tensor]:
        outputs: list[Tensor] = []
        for lstm in self.layers:
            below = outputs[-1] if outputs else inputs
            packed = pack_padded_sequence(
                self.dropout(below), self.lengths, batch_first=True, enforce_sorted=False
            )
            states = pad_packed_sequence(lstm(packed)[0], batch_first=True)[0]
            outputs.append(states + below if self.residual and outputs else states)
        return outputs


def pack(bilm: BiLM) -> Callable[[Tensor], None]:
    """Make both stacks run on packed sequences.

    Returns:
        A function to call with the lengths of each batch before the batch is computed.
    """
    stacks = (bilm.forward_lstm, bilm.backward_lstm)
    for stack in stacks:
        stack.__class__ = PackedStack

    def set_lengths(lengths: Tensor) -> None:
        for stack in stacks:
            stack.lengths = lengths.cpu()

    return set_lengths


class Textbook(nn.Module):
    """The textbook biLM, as tutorials and students write it: the baseline of the benchmarks.

    Two separate 2-layer `nn.LSTM`, one embedding, a linear layer to all V words, cross-entropy that
    ignores padding; the logits of padded positions are computed nevertheless.
    """

    def __init__(self, vocab_size: int, dim: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=PAD)
        self.forward_lstm = nn.LSTM(dim, dim, 2, batch_first=True, dropout=dropout)
        self.backward_lstm = nn.LSTM(dim, dim, 2, batch_first=True, dropout=dropout)
        self.output = nn.Linear(dim, vocab_size)

    def forward(self, tokens: Tensor, mirrored: Tensor) -> Tensor:
        """Return mean negative log-likelihoods (2,) of tokens (B, T) and of the mirrored tokens."""
        losses = []
        for lstm, ids in ((self.forward_lstm, tokens), (self.backward_lstm, mirrored)):
            states, _ = lstm(self.embedding(ids[:, :-1]))
            logits = self.output(states).flatten(0, 1)
            losses.append(functional.cross_entropy(logits, ids[:, 1:].flatten(), ignore_index=PAD))
        return torch.stack(losses)

    def states(self, tokens: Tensor, mirrored: Tensor) -> Tensor:
        """Return the top layer (B, T, D) of both directions, the backward one in reading order."""
        lstms = ((self.forward_lstm, tokens), (self.backward_lstm, mirrored))
        return torch.cat([lstm(self.embedding(ids))[0] for lstm, ids in lstms], -1)


class TextbookClassifier(nn.Module):
    """The textbook biLM, frozen, with the mean of its top layer and a linear layer on it."""

    def __init__(self, bilm: Textbook, num_classes: int) -> None:
        super().__init__()
        self.bilm = bilm.eval()
        self.output = nn.Linear(2 * bilm.embedding.embedding_dim, num_classes)

    def forward(self, tokens: Tensor, mirrored: Tensor) -> Tensor:
        """Return the logits (B, C) of tokens (B, T)."""
        with torch.no_grad():
            states = self.bilm.states(tokens, mirrored).float()  # (B, T, D)
        mask = (tokens != PAD).unsqueeze(-1)  # (B, T, 1)
        return self.output((states * mask).sum(1) / mask.sum(1))


def mirrored_pair(documents: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return the tokens (B, T) of documents, and the same read backwards."""
    return pad(list(documents))[0], pad([ids[::-1] for ids in documents])[0]


def random_batches(
    split: TokenizedSplit, size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield batches of `size` documents in random order, without end.

    Yields:
        The tokens (B, T), the same read backwards (B, T), and the number of real tokens.
    """
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(split))
        for start in range(0, len(order) - size + 1, size):
            documents = [split.ids(row) for row in order[start : start + size]]
            yield *mirrored_pair(documents), sum(map(len, documents))
