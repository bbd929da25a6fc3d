"""The output layers of the language model: full, adaptive and sampled softmax."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from elmo.errors import ConfigError, check_range
from elmo.modules.linear import Linear

# Logits computed at a time: 16 MiB in single precision, for any V. Larger blocks of memory are
# returned to the system after each use, and allocating them again adds half of the time.
CHUNK = 2**22
# Nats by which two computations of a log-probability may differ, even in half precision.
ROUNDING = 0.1
# Rows of the products of the adaptive softmax are rounded up to multiples of these.
HEAD_ROWS, CLUSTER_ROWS = 128, 64


class Softmax(nn.Module, ABC):
    """Base of the output layers: p(word | hidden state) for the words of the vocabulary.

    Args:
        dim: width of the hidden states, D/2.
        vocab_size: V; ids are in order of falling frequency.
    """

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.vocab_size = vocab_size

    def forward(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log-likelihoods (N,) in nats of targets (N,), given hidden (N, D/2).

        Without gradients, at most `CHUNK` logits are held at a time. With gradients, all logits are
        kept for the backward pass, so chunks would only cost time.
        """
        if torch.is_grad_enabled():
            return self._nll(hidden, targets)
        chunks = zip(self._chunks(hidden), self._chunks(targets), strict=True)
        return torch.cat([self._nll(*chunk) for chunk in chunks])  # (N,)

    @abstractmethod
    def _nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return what `forward` returns, computed in one chunk."""

    @abstractmethod
    def _log_prob(self, hidden: Tensor) -> Tensor:
        """Return what `log_prob` returns, computed in one chunk."""

    def _chunks(self, rows: Tensor) -> Iterator[Tensor]:
        return iter(rows.split(max(1, CHUNK // self.vocab_size)))

    def log_prob(self, hidden: Tensor) -> Tensor:
        """Return the exact log-probabilities (N, V) given hidden (N, D/2), computed in chunks."""
        return torch.cat([self._log_prob(chunk) for chunk in self._chunks(hidden)])  # (N, V)

    def predict(self, hidden: Tensor) -> Tensor:
        """Return the most probable word (N,) given hidden (N, D/2)."""
        return self.topk(hidden, 1).squeeze(1)  # (N,)

    def hits(self, hidden: Tensor, targets: Tensor, nll: Tensor) -> Tensor:
        """Return whether `predict` finds the targets, with less work than predicting.

        Args:
            hidden: (N, D/2).
            targets: (N,).
            nll: what `forward` returned for them, (N,).
        """
        chunks = zip(*map(self._chunks, (hidden, targets, nll)), strict=True)
        return torch.cat([self._hits(*chunk) for chunk in chunks])  # (N,)

    @abstractmethod
    def _hits(self, hidden: Tensor, targets: Tensor, nll: Tensor) -> Tensor:
        """Return what `hits` returns, computed in one chunk."""

    def topk(self, hidden: Tensor, k: int) -> Tensor:
        """Return the k most probable words (N, k) given hidden (N, D/2), best first.

        Raises:
            ConfigError: k is not in 1..V.
        """
        if not 1 <= k <= self.vocab_size:
            raise ConfigError(f"topk of {k} words; expected 1 to V = {self.vocab_size}")
        return torch.cat([self._topk(chunk, k) for chunk in self._chunks(hidden)])  # (N, k)

    def _topk(self, hidden: Tensor, k: int) -> Tensor:
        return self._log_prob(hidden).topk(k).indices  # (N, k)


class LinearSoftmax(Softmax, ABC):
    """Base of the full and the sampled softmax: one row of W and one bias for each word."""

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__(dim, vocab_size)
        self.output = Linear(dim, vocab_size)

    def _nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(self.output(hidden), targets, reduction="none")  # (N,)

    def _log_prob(self, hidden: Tensor) -> Tensor:
        return self.output(hidden).log_softmax(1)  # (N, V)

    def _hits(self, hidden: Tensor, targets: Tensor, nll: Tensor) -> Tensor:
        return self.output(hidden).argmax(1) == targets  # (N,)


class FullSoftmax(LinearSoftmax):
    """softmax(W h + b) over the whole vocabulary: exact and slow, the baseline of the others."""


class AdaptiveSoftmax(Softmax):
    """Frequent words in a short head, the others in narrower clusters (Grave et al. 2017).

    Wraps `nn.AdaptiveLogSoftmaxWithLoss` with the cutoffs of `adaptive_cutoffs`; on news text the
    words of the head cover 57 % of all tokens.

    Args:
        dim, vocab_size: see `Softmax`.
        div_value: each cluster is narrower by this factor than the one before.

    Raises:
        ConfigError: V is less than 3, or `div_value` less than 1.
    """

    def __init__(self, dim: int, vocab_size: int, div_value: float = 1.6) -> None:
        super().__init__(dim, vocab_size)
        check_range({"softmax.div_value": div_value}, at_least=1)
        self.div_value = div_value
        cutoffs = adaptive_cutoffs(vocab_size)
        if not cutoffs:
            raise ConfigError(f"softmax=adaptive needs 3 words or more, V is {vocab_size}")
        # PyTorch's widths, dim // div_value^i, are odd numbers, and 0 in narrow models. So its
        # clusters, which this div_value keeps at least 2 wide, are replaced below.
        self.output = nn.AdaptiveLogSoftmaxWithLoss(
            dim, vocab_size, cutoffs, (dim / 2) ** (1 / len(cutoffs)), head_bias=True
        )
        self.output.head = Linear.like(self.output.head)
        for index, (start, end) in enumerate(itertools.pairwise(self.output.cutoffs)):
            width = cluster_width(dim / div_value ** (index + 1))
            self.output.tail[index] = nn.Sequential(
                Linear(dim, width, bias=False), Linear(width, end - start, bias=False)
            )

    # PyTorch's class writes the clusters into one tensor with the dtype of its input, which fails
    # where autocast gives them another dtype; so autocast is off here.

    def _nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        # What PyTorch's class does, but with rows rounded up: oneDNN compiles a product for every
        # number of rows that it has not met lately, which can take longer than the product.
        short = self.output.shortlist_size
        starts = targets.new_tensor(self.output.cutoffs[:-1])  # (clusters,)
        cluster = torch.bucketize(targets, starts, right=True)  # (N,), 0 for the head
        entries = torch.where(cluster == 0, targets, short + cluster - 1)  # (N,), of the head
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = self._to_weight_dtype(hidden)
            extra = _missing(len(targets), HEAD_ROWS)
            head = self.output.head(functional.pad(hidden, (0, 0, 0, extra)))
            nll = _cross_entropy(head, functional.pad(entries, (0, extra)))[: len(targets)]
            for index, tail in enumerate(self.output.tail, start=1):
                rows = (cluster == index).nonzero().squeeze(1)  # (R,)
                if not len(rows):
                    continue
                extra = _missing(len(rows), CLUSTER_ROWS)
                words = targets.index_select(0, rows) - starts[index - 1]
                inside = tail(hidden.index_select(0, functional.pad(rows, (0, extra))))
                of_cluster = _cross_entropy(inside, functional.pad(words, (0, extra)))
                nll = nll.index_add(0, rows, of_cluster[: len(rows)])
        return nll  # (N,)

    def _log_prob(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return self.output.log_prob(self._to_weight_dtype(hidden))  # (N, V)

    def _topk(self, hidden: Tensor, k: int) -> Tensor:
        # A word is at most as probable as its cluster. Where k words are more probable than a whole
        # cluster, the cluster is not computed: still exact, and most tokens need the head alone.
        short = self.output.shortlist_size  # words in the head
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = self._to_weight_dtype(hidden)
            head = self.output.head(hidden).log_softmax(1)  # (N, short + clusters)
            best, words = head[:, :short].topk(min(k, short))  # (N, min(k, short)) each
            if k > short:  # fill up to (N, k) with places that any word of a cluster beats
                best = functional.pad(best, (0, k - short), value=-torch.inf)
                words = functional.pad(words, (0, k - short))
            for index, cluster in enumerate(self.output.tail):
                start = self.output.cutoffs[index]
                of_cluster = head[:, short + index]  # (N,)
                rows = (of_cluster > best[:, -1]).nonzero().squeeze(1)  # (R,) that need the cluster
                inside = of_cluster[rows, None] + cluster(hidden[rows]).log_softmax(1)  # (R, size)
                values = torch.cat([best[rows], inside], 1)  # (R, k + size)
                best[rows], places = values.topk(k)  # (R, k) each
                ids = torch.arange(start, start + inside.shape[1], device=hidden.device)  # (size,)
                candidates = torch.cat([words[rows], ids.expand_as(inside)], 1)  # (R, k + size)
                words[rows] = candidates.gather(1, places)
        return words  # (N, k)

    def _hits(self, hidden: Tensor, targets: Tensor, nll: Tensor) -> Tensor:
        # Most targets are less probable than a word of the head; only the others need clusters.
        with torch.autocast(hidden.device.type, enabled=False):
            head = self.output.head(self._to_weight_dtype(hidden)).log_softmax(1)
        best = head[:, : self.output.shortlist_size].amax(1)  # (N,)
        rows = (best + nll < ROUNDING).nonzero().squeeze(1)  # (R,)
        hits = torch.zeros_like(targets, dtype=torch.bool)
        hits[rows] = self._topk(hidden[rows], 1).squeeze(1) == targets[rows]
        return hits  # (N,)

    def _to_weight_dtype(self, hidden: Tensor) -> Tensor:
        return hidden.to(self.output.head.weight.dtype)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="none")


def _missing(count: int, multiple: int) -> int:
    """Return what is missing from `count` to the next multiple, or power of two if that is less."""
    return min(-count % multiple, (1 << (count - 1).bit_length()) - count)


def adaptive_cutoffs(vocab_size: int) -> list[int]:
    """Return the first id of each cluster: near 240, 960, 2,880, 8,640 ... up to 5 V/6.

    The share of a text that the k most frequent words cover hardly depends on V, so a larger V adds
    clusters and leaves the others unchanged. A small V has one cutoff, V/3. The head (its words and
    one entry for each cluster) and the inner clusters have multiples of 16 rows: on a CPU a matrix
    product with 467 columns took 1.7 times as long as one with 464.

    Args:
        vocab_size: V; below 3 there is no cutoff.
    """
    ends = [240]
    while 1.2 * ends[-1] < vocab_size:
        ends.append(3 * ends[-1] if len(ends) > 1 else 4 * ends[-1])
    *cutoffs, _ = ends
    if not cutoffs and vocab_size >= 3:
        return [vocab_size // 3]
    return [end - len(cutoffs) for end in cutoffs]


def cluster_width(width: float) -> int:
    """Round a width so that rows are aligned: to a multiple of 16 above 64, of 8 from 8 on.

    A smaller width is rounded to a whole number, 1 or more.
    """
    if width < 8:
        return max(1, round(width))
    step = 16 if width > 64 else 8
    return step * round(width / step)


class SampledSoftmax(LinearSoftmax):
    """Softmax that estimates its sum over V from random words in training (Jean et al. 2015).

    The batch shares one sample, drawn with replacement from the log-uniform distribution
    P(k) ~ log(1 + 1/(k+1)). The estimate of sum_v exp(s_v) is exp(s_target) plus the sum of
    exp(s_k) / (samples P(k)) over the drawn words k other than the target. In eval mode the sum is
    exact.

    Args:
        dim, vocab_size: see `Softmax`.
        samples: S, words drawn for each batch.
    """

    def __init__(self, dim: int, vocab_size: int, samples: int = 4096) -> None:
        super().__init__(dim, vocab_size)
        check_range({"softmax.samples": samples}, at_least=1)
        self.samples = samples

    def _log_expected(self, words: Tensor) -> Tensor:
        """Return the log of how often each of `words` is expected in the sample, same shape."""
        words = words.double()
        probability = (1 / (words + 1)).log1p() / math.log(self.vocab_size + 1)
        return (self.samples * probability).log().float()

    def _nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        if not self.training:
            return super()._nll(hidden, targets)
        uniform = torch.rand(self.samples, dtype=torch.float64, device=hidden.device)  # (S,)
        # The inverse of the cumulative distribution log(k + 1) / log(V + 1).
        drawn = (uniform * math.log(self.vocab_size + 1)).exp().long() - 1  # (S,)
        drawn = drawn.clamp(0, self.vocab_size - 1)
        weight, bias = self.output.weight, self.output.bias
        true = (hidden * weight[targets]).sum(1) + bias[targets]  # (N,)
        others = functional.linear(hidden, weight[drawn], bias[drawn])  # (N, S)
        others = others - self._log_expected(drawn)
        others = others.masked_fill(drawn == targets.unsqueeze(1), -torch.inf)
        return torch.cat([true.unsqueeze(1), others], 1).logsumexp(1) - true  # (N,)
