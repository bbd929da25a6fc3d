"""Means of single models, with intervals by a hierarchical bootstrap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from elmo.evaluation.significance import (
    CONFIDENCE,
    RESAMPLES,
    average_outcomes,
    distinct_runs,
)
from elmo.runs.finished import Outcome

BATCH = 500  # resamples in memory at once


class Summary(NamedTuple):
    """The accuracy of a setting over its biLMs and seeds."""

    bilms: int  # 0 where its classifiers are built on none
    seeds: tuple[int, ...]  # different runs on each biLM; one number where there is no biLM
    copies: int  # runs left out because another has the same predictions
    mean: float  # of the means of the biLMs
    deviation_bilms: float  # of the means of the biLMs, of a sample; NaN for fewer than two
    deviation: float  # over the seeds on one biLM, of a sample; NaN where each has one
    low: float  # ends of the interval of the mean
    high: float
    together: float  # accuracy of the probabilities averaged over all runs

    @property
    def runs(self) -> int:
        """The number of different runs."""
        return sum(self.seeds)


class Difference(NamedTuple):
    """The difference between the means of two settings."""

    one: int  # position of the setting
    other: int
    bilms: int  # the biLMs that both are built on; 0 where they share none
    difference: float  # mean of `one` minus that of `other`, on these biLMs
    low: float  # ends of its 95 % interval
    high: float
    confidence: float  # of the interval corrected for the number of pairs (Bonferroni)
    corrected_low: float
    corrected_high: float

    @property
    def winner(self) -> int | None:
        """The position of the setting that beats the other; None where chance could do it."""
        if self.corrected_low <= 0 <= self.corrected_high:
            return None
        return self.one if self.difference > 0 else self.other


class Bootstrap:
    """Resamples biLMs, the classifier seeds on each, and the rows of the split.

    Rows are drawn once for all runs, so that differences are paired by rows. Of n biLMs, n - 1 are
    drawn with replacement, and likewise of n seeds on a drawn biLM: drawing n would make the
    variance too small by (n - 1) / n, a third for three biLMs (McCarthy and Snowden 1985; Rao and
    Wu 1988). A level with one member is not drawn from, so the interval does not cover it; of one
    run, it is the bootstrap over the rows. The means of biLMs contain the variance of the seeds,
    which are drawn on top of them, so the interval is too wide rather than too narrow (Davison and
    Hinkley 1997, section 3.8). It ends at percentiles.

    Args:
        settings: the runs of each setting; of those with the same predictions, one counts.
        seed: of the draws.

    Raises:
        DataError: the runs have different rows or classes.
    """

    def __init__(self, settings: Sequence[Sequence[Outcome]], seed: int = 0) -> None:
        average_outcomes([outcome for outcomes in settings for outcome in outcomes])
        self.seed = seed
        self.given = settings
        self.settings = [distinct_runs(outcomes) for outcomes in settings]
        self._correct = [np.array([o.correct for o in runs]) for runs in self.settings]
        accuracies = _resample_rows(np.concatenate(self._correct), np.random.default_rng(seed))
        ends = np.cumsum([len(runs) for runs in self.settings])[:-1]
        self._accuracies = np.split(accuracies, ends, axis=1)  # each (RESAMPLES, runs)

    def summary(self, place: int) -> Summary:
        """Return the accuracy of the setting at a position."""
        runs = self.settings[place]
        groups = _by_bilm(runs)
        correct = self._correct[place].mean(1)
        means = np.array([correct[group].mean() for group in groups.values()])
        inner = [correct[group].var(ddof=1) for group in groups.values() if len(group) > 1]
        random = np.random.default_rng([self.seed, place])
        drawn = _draw_bilms(len(groups), random)
        values = self._resampled(place, list(groups.values()), drawn, random)
        return Summary(
            len(groups.keys() - {None}),
            tuple(map(len, groups.values())),
            len(self.given[place]) - len(runs),
            float(means.mean()),
            float(means.std(ddof=1)) if len(means) > 1 else float("nan"),
            float(np.sqrt(np.mean(inner))) if inner else float("nan"),
            *_ends(values, CONFIDENCE),
            float(average_outcomes(runs).correct.mean()),
        )

    def difference(self, one: int, other: int, confidence: float = CONFIDENCE) -> Difference:
        """Return the difference of two means, on the biLMs that both are built on.

        Where they share biLMs, the others do not count and the shared ones are drawn together;
        otherwise each setting draws its own.

        Args:
            confidence: of the corrected interval.
        """
        first, second = (_by_bilm(self.settings[place]) for place in (one, other))
        shared = sorted(first.keys() & second.keys() - {None}, key=str)
        if shared:
            first, second = ({name: g[name] for name in shared} for g in (first, second))
        random = np.random.default_rng([self.seed, one, other])
        drawn = _draw_bilms(len(first), random)
        also = drawn if shared else _draw_bilms(len(second), random)
        values = self._resampled(one, list(first.values()), drawn, random)
        values -= self._resampled(other, list(second.values()), also, random)
        means = [
            np.mean([self._correct[place][group].mean() for group in groups.values()])
            for place, groups in ((one, first), (other, second))
        ]
        return Difference(
            one,
            other,
            len(shared),
            float(means[0] - means[1]),
            *_ends(values, CONFIDENCE),
            confidence,
            *_ends(values, confidence),
        )

    def differences(self, pairs: Iterable[tuple[int, int]] | None = None) -> list[Difference]:
        """Return the differences of pairs, their intervals corrected for the number of pairs.

        Args:
            pairs: positions of the settings to compare; None compares every pair.
        """
        if pairs is None:
            pairs = combinations(range(len(self.settings)), 2)
        chosen = list(pairs)
        return [self.difference(*pair, 1 - (1 - CONFIDENCE) / len(chosen)) for pair in chosen]

    def _resampled(
        self,
        place: int,
        groups: Sequence[np.ndarray],
        drawn: np.ndarray,
        random: np.random.Generator,
    ) -> np.ndarray:
        """Return the mean of a setting in each resample (RESAMPLES,).

        Args:
            groups: positions of the runs on each biLM.
            drawn: positions of the drawn biLMs (RESAMPLES, draws).
        """
        accuracies = self._accuracies[place]
        weights = np.zeros_like(accuracies)
        for bilms in drawn.T:
            for number, group in enumerate(groups):
                at = np.flatnonzero(bilms == number)
                draws = max(1, len(group) - 1)
                counts = random.multinomial(draws, np.full(len(group), 1 / len(group)), len(at))
                weights[at[:, None], group] += counts / draws
        return (weights * accuracies).sum(1) / drawn.shape[1]


def summarise(outcomes: Sequence[Outcome], seed: int = 0) -> Summary:
    """Return the accuracy of one setting.

    Args:
        outcomes: the predictions of each run.
        seed: of the bootstrap.

    Raises:
        DataError: the outcomes have different rows or classes.
    """
    return Bootstrap([outcomes], seed).summary(0)


def _by_bilm(runs: Sequence[Outcome]) -> dict[str | None, np.ndarray]:
    """Return the positions of the runs on each biLM."""
    names = [run.bilm for run in runs]
    return {
        name: np.array([place for place, other in enumerate(names) if other == name])
        for name in dict.fromkeys(names)
    }


def _draw_bilms(count: int, random: np.random.Generator) -> np.ndarray:
    """Return the positions of the biLMs in each resample (RESAMPLES, draws)."""
    return random.integers(count, size=(RESAMPLES, max(1, count - 1)))


def _resample_rows(correct: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the accuracy of each run on resampled rows (RESAMPLES, runs).

    Rows on which the same runs are right are exchangeable, so the number of each such kind of row
    is drawn: the same distribution, with fewer draws.

    Args:
        correct: whether each run is right (runs, N).
    """
    count = correct.shape[1]
    _, first, sizes = np.unique(
        np.packbits(correct, axis=0), axis=1, return_index=True, return_counts=True
    )
    kinds = correct[:, first].T.astype(np.float32)  # (kinds, runs)
    parts = [
        random.multinomial(count, sizes / count, BATCH).astype(np.float32) @ kinds
        for _ in range(0, RESAMPLES, BATCH)
    ]
    return np.concatenate(parts).astype(float) / count


def _ends(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the percentiles between which a share `confidence` of the values lies."""
    outside = (1 - confidence) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)
