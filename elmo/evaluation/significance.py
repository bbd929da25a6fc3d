"""Intervals and paired tests: whether a difference of accuracies could be chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from elmo.errors import DataError
from elmo.runs.finished import Outcome

RESAMPLES = 10_000
CONFIDENCE = 0.95


class Summary(NamedTuple):
    """The accuracy of a setting over its seeds."""

    seeds: int
    mean: float
    deviation: float  # over seeds, of a sample; NaN for one seed
    low: float  # ends of the interval of the mean, over the rows of the split
    high: float
    together: float  # accuracy of the probabilities averaged over the seeds


class Interval(NamedTuple):
    """A mean over the rows of a split and its bootstrap interval."""

    mean: float
    low: float
    high: float


class Comparison(NamedTuple):
    """A paired test of two settings, each by its seed-averaged probabilities."""

    one: int  # position of the setting
    other: int
    seeds: int  # the averaged seeds, which both have; 0 where all seeds of each are averaged
    difference: float  # accuracy of `one` minus that of `other`
    only_one: int  # rows that only `one` has right
    only_other: int
    p: float  # exact McNemar, two-sided
    corrected: float  # for the number of comparisons, by Holm's method


def average_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Return an outcome with the probabilities averaged over the seeds.

    Raises:
        DataError: the outcomes have different rows or classes.
    """
    first = outcomes[0]
    for outcome in outcomes:
        if not np.array_equal(outcome.rows, first.rows) or outcome.classes != first.classes:
            raise DataError(
                "predictions for different rows or classes do not compare; name runs on the same "
                "data"
            )
    mean = np.mean([outcome.probabilities for outcome in outcomes], axis=0)
    return first._replace(probabilities=mean)


def summarise(outcomes: Sequence[Outcome], seed: int = 0) -> Summary:
    """Return the accuracy of a setting with a bootstrap interval.

    Args:
        outcomes: the predictions of each seed.
        seed: of the bootstrap; its interval is one of percentiles (Efron and Tibshirani 1993).

    Raises:
        DataError: the outcomes have different rows or classes.
    """
    correct = np.array([outcome.correct for outcome in outcomes], dtype=float)  # (S, N)
    accuracies = correct.mean(1)
    interval = _interval(correct.mean(0), seed)
    return Summary(
        len(outcomes),
        float(accuracies.mean()),
        float(accuracies.std(ddof=1)) if len(outcomes) > 1 else float("nan"),
        interval.low,
        interval.high,
        float(average_outcomes(outcomes).correct.mean()),
    )


def paired_interval(one: Sequence[Outcome], other: Sequence[Outcome], seed: int = 0) -> Interval:
    """Return the difference of the mean accuracies of two settings with a bootstrap interval.

    Each resample has the same rows of both.

    Args:
        one, other: the predictions of each seed.
        seed: see `summarise`.

    Raises:
        DataError: the outcomes have different rows or classes.
    """
    average_outcomes([*one, *other])  # checks the rows
    correct = [
        np.mean([outcome.correct for outcome in outcomes], axis=0) for outcomes in (one, other)
    ]
    return _interval(correct[0] - correct[1], seed)


def _interval(values: np.ndarray, seed: int) -> Interval:
    """Return the mean of a value of each row (N,) with a bootstrap interval."""
    if np.ptp(values) == 0:  # of which a bootstrap warns
        return Interval(*[float(values[0])] * 3)
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=seed,
    ).confidence_interval
    return Interval(float(values.mean()), float(found.low), float(found.high))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979)."""
    return multipletests(p, method="holm")[1].tolist() if p else []


def compare(
    settings: Sequence[Sequence[Outcome]], pairs: Iterable[tuple[int, int]] | None = None
) -> list[Comparison]:
    """Test pairs of settings; the p-values are corrected for their number (Holm 1979).

    The probabilities are averaged over the seeds that both settings of a pair have: otherwise a
    mean of five seeds would be ahead of a mean of two only because it averages more. Where they
    share no seed, or a seed stands for several runs, all seeds of each are averaged.

    Args:
        settings: the predictions of each seed of each setting.
        pairs: positions of the settings to compare; None compares every pair.

    Raises:
        DataError: the outcomes have different rows or classes.
    """
    for outcomes in settings:
        average_outcomes(outcomes)  # checks the rows
    comparisons: list[Comparison] = []
    for one, other in combinations(range(len(settings)), 2) if pairs is None else pairs:
        both = _with_common_seeds(settings[one], settings[other])
        first, second = (average_outcomes(outcomes) for outcomes in both)
        average_outcomes([first, second])  # checks the rows
        table = np.array(
            [
                [(first.correct == a) & (second.correct == b) for b in (True, False)]
                for a in (True, False)
            ]
        ).sum(-1)
        p = mcnemar(table, exact=True).pvalue
        difference = float(first.correct.mean() - second.correct.mean())
        seeds = len(both[0]) if _seeds(both[0]) == _seeds(both[1]) else 0
        only_one, only_other = int(table[0, 1]), int(table[1, 0])
        comparisons.append(Comparison(one, other, seeds, difference, only_one, only_other, p, p))
    corrected = holm([pair.p for pair in comparisons])
    return [
        pair._replace(corrected=value) for pair, value in zip(comparisons, corrected, strict=True)
    ]


def _seeds(outcomes: Sequence[Outcome]) -> list[int]:
    return sorted(outcome.seed for outcome in outcomes)


def _with_common_seeds(
    one: Sequence[Outcome], other: Sequence[Outcome]
) -> tuple[Sequence[Outcome], Sequence[Outcome]]:
    """Return the outcomes of the seeds that both have, or all where these are not clear."""
    common = set(_seeds(one)) & set(_seeds(other))
    unique = all(len(set(_seeds(outcomes))) == len(outcomes) for outcomes in (one, other))
    if not common or not unique:
        return one, other
    return [o for o in one if o.seed in common], [o for o in other if o.seed in common]
