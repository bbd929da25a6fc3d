"""Output layers of the language model: full, adaptive and sampled softmax."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from elmo.errors import ConfigError, check_range

# Logits computed at a time: 16 MiB in single precision at any V. Larger blocks go back to the
# system after each use, and getting them anew costs half as much again as the work itself.
CHUNK = 2**22


class Softmax(nn.Module, ABC):
    """p(word | hidden) over a vocabulary whose ids fall in frequency order.

    Args:
        dim: width of the hidden states, D/2.
        vocab_size: V.
    """

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.vocab_size = vocab_size

    def forward(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """hidden (N, D/2), targets (N,) -> negative log-likelihood in nats (N,).

        Without gradients no more than `CHUNK` logits are held at a time. With them all logits are
        kept for the way back, so pieces would only cost time.
        """
        if torch.is_grad_enabled():
            return self._nll(hidden, targets)
        pieces = zip(self._chunks(hidden), self._chunks(targets), strict=True)
        return torch.cat([self._nll(*piece) for piece in pieces])

    @abstractmethod
    def _nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """`forward` of all at once."""

    @abstractmethod
    def _log_prob(self, hidden: Tensor) -> Tensor:
        """hidden (N, D/2) -> exact log-probabilities (N, V)."""

    def _chunks(self, hidden: Tensor) -> Iterator[Tensor]:
        return iter(hidden.split(max(1, CHUNK // self.vocab_size)))

    def log_prob(self, hidden: Tensor) -> Tensor:
        """hidden (N, D/2) -> exact log-probabilities (N, V), computed in chunks of N."""
        return torch.cat([self._log_prob(chunk) for chunk in self._chunks(hidden)])

    def predict(self, hidden: Tensor) -> Tensor:
        """hidden (N, D/2) -> the most probable word of each (N,)."""
        return self.topk(hidden, 1).squeeze(1)

    def topk(self, hidden: Tensor, k: int) -> Tensor:
        """hidden (N, D/2) -> the k most probable words of each, best first (N, k).

        Raises:
            ConfigError: k is not from 1 to V.
        """
        if not 1 <= k <= self.vocab_size:
            raise ConfigError(f"topk of {k} words; expected 1 to V = {self.vocab_size}")
        return torch.cat([self._topk(chunk, k) for chunk in self._chunks(hidden)])

    def _topk(self, hidden: Tensor, k: int) -> Tensor:
        return self._log_prob(hidden).topk(k).indices


class LinearSoftmax(Softmax, ABC):
    """What the full and the sampled softmax share: one row of W and one bias for each word."""

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__(dim, vocab_size)
        self.output = nn.Linear(dim, vocab_size)

    def _nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(self.output(hidden), targets, reduction="none")

    def _log_prob(self, hidden: Tensor) -> Tensor:
        return self.output(hidden).log_softmax(1)


class FullSoftmax(LinearSoftmax):
    """softmax(W h + b) over the whole vocabulary: exact and slow, the yardstick of the others."""


class AdaptiveSoftmax(Softmax):
    """Frequent words in a short head, the rest in clusters of smaller width (Grave et al. 2017).

    A wrapper around `nn.AdaptiveLogSoftmaxWithLoss`, cut at `adaptive_cutoffs`: on news text the
    head holds 57 % of all tokens.

    Args:
        div_value: each cluster is this many times narrower than the one before.
    """

    def __init__(self, dim: int, vocab_size: int, div_value: float = 1.6) -> None:
        super().__init__(dim, vocab_size)
        check_range({"softmax.div_value": div_value}, at_least=1)
        self.div_value = div_value
        cutoffs = adaptive_cutoffs(vocab_size)
        if not cutoffs:
            raise ConfigError(f"softmax=adaptive needs 3 words or more, V is {vocab_size}")
        # PyTorch's widths, dim // div_value^i, fall on odd numbers and vanish in narrow models: its
        # clusters, here 2 wide at the end, are replaced.
        self.output = nn.AdaptiveLogSoftmaxWithLoss(
            dim, vocab_size, cutoffs, (dim / 2) ** (1 / len(cutoffs)), head_bias=True
        )
        for index, (start, end) in enumerate(itertools.pairwise(self.output.cutoffs)):
            width = cluster_width(dim / div_value ** (index + 1))
            self.output.tail[index] = nn.Sequential(
                nn.Linear(dim, width, bias=False), nn.Linear(width, end - start, bias=False)
            )

    # PyTorch's class writes the clusters into one tensor of the type of its input, which fails
    # where autocast gives them another type: here it stays off.

    def _nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return -self.output(self._as_weights(hidden), targets).output

    def _log_prob(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return self.output.log_prob(self._as_weights(hidden))

    def _topk(self, hidden: Tensor, k: int) -> Tensor:
        # A word is at most as probable as its cluster: where k words beat the whole cluster, the
        # cluster need not be computed. Exact, and most tokens stay in the head.
        short = self.output.shortlist_size
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = self._as_weights(hidden)
            head = self.output.head(hidden).log_softmax(1)  # (N, short + clusters)
            best, words = head[:, :short].topk(min(k, short))
            if k > short:  # empty places, which any word of a cluster beats
                best = functional.pad(best, (0, k - short), value=-torch.inf)
                words = functional.pad(words, (0, k - short))
            for index, cluster in enumerate(self.output.tail):
                start = self.output.cutoffs[index]
                share = head[:, short + index]
                rows = (share > best[:, -1]).nonzero().squeeze(1)
                inside = share[rows, None] + cluster(hidden[rows]).log_softmax(1)
                values = torch.cat([best[rows], inside], 1)
                best[rows], places = values.topk(k)
                ids = torch.arange(start, start + inside.shape[1], device=hidden.device)
                candidates = torch.cat([words[rows], ids.expand_as(inside)], 1)
                words[rows] = candidates.gather(1, places)
        return words

    def _as_weights(self, hidden: Tensor) -> Tensor:
        return hidden.to(self.output.head.weight.dtype)


def adaptive_cutoffs(vocab_size: int) -> list[int]:
    """Where the clusters begin: near 240, 960, 2,880, 8,640 ... up to 5 V/6; at V/3 in a small V.

    How much of a text the k most frequent words make up hardly depends on V, so a larger V adds
    clusters and leaves the rest as it is. The head (its words and an entry for each cluster) and
    the inner clusters hold multiples of 16 rows: on a CPU a matrix product with 467 columns took
    1.7 times as long as one with 464.
    """
    ends = [240]
    while 1.2 * ends[-1] < vocab_size:
        ends.append(3 * ends[-1] if len(ends) > 1 else 4 * ends[-1])
    *cutoffs, _ = ends
    if not cutoffs and vocab_size >= 3:
        return [vocab_size // 3]
    return [end - len(cutoffs) for end in cutoffs]


def cluster_width(width: float) -> int:
    """The nearest width of aligned rows: a multiple of 16 above 64, of 8 below, 1 at least."""
    if width < 8:
        return max(1, round(width))
    step = 16 if width > 64 else 8
    return step * round(width / step)


class SampledSoftmax(LinearSoftmax):
    """In training the sum over V is estimated from `samples` random words (Jean et al. 2015).

    The words are drawn with replacement by the log-uniform law P(k) ~ log(1 + 1/(k+1)), shared by
    the batch: sum_v exp(s_v) is taken as exp(s_target) + sum_k exp(s_k) / (samples P(k)) over the
    drawn words k other than the target. Exact in `eval()`.

    Args:
        samples: words drawn for each batch.
    """

    def __init__(self, dim: int, vocab_size: int, samples: int = 4096) -> None:
        super().__init__(dim, vocab_size)
        check_range({"softmax.samples": samples}, at_least=1)
        self.samples = samples

    def _log_expected(self, words: Tensor) -> Tensor:
        """log of how often each of `words` is expected among the samples."""
        words = words.double()
        law = (1 / (words + 1)).log1p() / math.log(self.vocab_size + 1)
        return (self.samples * law).log().float()

    def _nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        if not self.training:
            return super()._nll(hidden, targets)
        uniform = torch.rand(self.samples, dtype=torch.float64, device=hidden.device)
        drawn = (uniform * math.log(self.vocab_size + 1)).exp().long() - 1  # (S,)
        drawn = drawn.clamp(0, self.vocab_size - 1)
        weight, bias = self.output.weight, self.output.bias
        true = (hidden * weight[targets]).sum(1) + bias[targets]  # (N,)
        others = functional.linear(hidden, weight[drawn], bias[drawn])  # (N, S)
        others = others - self._log_expected(drawn)
        others = others.masked_fill(drawn == targets.unsqueeze(1), -torch.inf)
        return torch.cat([true.unsqueeze(1), others], 1).logsumexp(1) - true
