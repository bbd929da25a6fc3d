"""Paired tests of averaged models: whether they are right on different rows by chance."""

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
SAME = 1e-4  # probabilities of a deterministic classifier differ by less from seed to seed


class Interval(NamedTuple):
    """A mean over the rows of a split and its bootstrap interval."""

    mean: float
    low: float
    high: float


class Comparison(NamedTuple):
    """A paired test of two settings, each by the averaged probabilities of its runs."""

    one: int  # position of the setting
    other: int
    models: tuple[int, int]  # the different runs of each that are averaged
    difference: float  # accuracy of `one` minus that of `other`
    only_one: int  # rows that only `one` has right
    only_other: int
    p: float  # exact McNemar, two-sided
    corrected: float  # for the number of comparisons, by Holm's method


def average_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Return an outcome with the probabilities averaged over the runs.

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


def distinct_runs(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the runs whose predictions differ: seeds of a deterministic classifier are one run."""
    kept: list[Outcome] = []
    for outcome in outcomes:
        if not any(_agree(outcome, other) for other in kept):
            kept.append(outcome)
    return kept


def paired_interval(one: Sequence[Outcome], other: Sequence[Outcome], seed: int = 0) -> Interval:
    """Return the difference of the mean accuracies of two settings with a bootstrap interval.

    Each resample has the same rows of both; the interval is one of percentiles (Efron and
    Tibshirani 1993).

    Args:
        one, other: the predictions of each seed.
        seed: of the bootstrap.

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


def _agree(one: Outcome, other: Outcome) -> bool:
    same = np.array_equal(one.probabilities.argmax(1), other.probabilities.argmax(1))
    return same and np.allclose(one.probabilities, other.probabilities, rtol=0, atol=SAME)


def compare(
    settings: Sequence[Sequence[Outcome]], pairs: Iterable[tuple[int, int]] | None = None
) -> list[Comparison]:
    """Test pairs of settings; the p-values are corrected for their number (Holm 1979).

    The probabilities are averaged over the biLMs and seeds that both settings of a pair have:
    otherwise a mean of five runs would be ahead of a mean of two only because it averages more.
    Where they have none in common, or these stand for several runs, all runs of each are averaged.

    Args:
        settings: the predictions of each run of each setting.
        pairs: positions of the settings to compare; None compares every pair.

    Raises:
        DataError: the outcomes have different rows or classes.
    """
    for outcomes in settings:
        average_outcomes(outcomes)  # checks the rows
    comparisons: list[Comparison] = []
    for one, other in combinations(range(len(settings)), 2) if pairs is None else pairs:
        both = _in_common(settings[one], settings[other])
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
        models = len(distinct_runs(both[0])), len(distinct_runs(both[1]))
        only_one, only_other = int(table[0, 1]), int(table[1, 0])
        comparisons.append(Comparison(one, other, models, difference, only_one, only_other, p, p))
    corrected = holm([pair.p for pair in comparisons])
    return [
        pair._replace(corrected=value) for pair, value in zip(comparisons, corrected, strict=True)
    ]


def _in_common(
    one: Sequence[Outcome], other: Sequence[Outcome]
) -> tuple[Sequence[Outcome], Sequence[Outcome]]:
    """Return the runs that both settings have by biLM and seed, or by seed, or all of each."""
    for key in (lambda run: (run.bilm, run.seed), lambda run: run.seed):
        keys = [[key(run) for run in runs] for runs in (one, other)]
        common = {*keys[0]} & {*keys[1]}
        if common and all(len({*of_one}) == len(of_one) for of_one in keys):
            return [run for run in one if key(run) in common], [
                run for run in other if key(run) in common
            ]
    return one, other
