"""What differences of accuracy are worth: intervals over test rows, paired tests."""

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
    """The accuracy of a setting: of its seeds, and of the mean of their probabilities."""

    seeds: int
    mean: float
    deviation: float  # over seeds, of a sample; not a number for one seed
    low: float  # of the interval of the mean, over the rows of the split
    high: float
    together: float  # of the class that is most probable on average over the seeds


class Comparison(NamedTuple):
    """A paired test of two settings, each by its seed-averaged probabilities."""

    one: int
    other: int
    seeds: int  # that both have and that are averaged; 0 where all of each are, for want of such
    difference: float  # of the accuracies, one minus other
    only_one: int  # rows that `one` alone has right
    only_other: int
    p: float  # exact McNemar, two-sided
    corrected: float  # for the number of comparisons, Holm


def averaged(outcomes: Sequence[Outcome]) -> Outcome:
    """The mean of the probabilities over the seeds.

    Raises:
        DataError: they are not of the same rows.
    """
    first = outcomes[0]
    for outcome in outcomes:
        if not np.array_equal(outcome.rows, first.rows) or outcome.classes != first.classes:
            raise DataError("predictions of different rows or classes do not compare")
    mean = np.mean([outcome.probabilities for outcome in outcomes], axis=0)
    return first._replace(probabilities=mean)


def summarise(outcomes: Sequence[Outcome], seed: int = 0) -> Summary:
    """
    Args:
        seed: of the bootstrap, whose interval is of percentiles (Efron and Tibshirani 1993).
    """
    correct = np.array([outcome.correct for outcome in outcomes], dtype=float)  # (S, N)
    accuracies = correct.mean(1)
    interval = bootstrap(
        (correct.mean(0),),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=seed,
    ).confidence_interval
    return Summary(
        len(outcomes),
        float(accuracies.mean()),
        float(accuracies.std(ddof=1)) if len(outcomes) > 1 else float("nan"),
        float(interval.low),
        float(interval.high),
        float(averaged(outcomes).correct.mean()),
    )


def compare(
    settings: Sequence[Sequence[Outcome]], pairs: Iterable[tuple[int, int]] | None = None
) -> list[Comparison]:
    """Pairs of settings, the p-values corrected for their number (Holm 1979).

    Of a pair the seeds are averaged that both have: a mean of five would be ahead of a mean of two
    for being one. Where they share none, or a seed stands for several runs, all are averaged.

    Args:
        pairs: which, by position; None takes every pair.
    """
    for outcomes in settings:
        averaged(outcomes)  # of the same rows
    found: list[Comparison] = []
    for one, other in combinations(range(len(settings)), 2) if pairs is None else pairs:
        both = _of_common_seeds(settings[one], settings[other])
        first, second = (averaged(outcomes) for outcomes in both)
        averaged([first, second])  # of the same rows
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
        found.append(Comparison(one, other, seeds, difference, only_one, only_other, p, p))
    if not found:
        return []
    corrected = multipletests([pair.p for pair in found], method="holm")[1]
    return [
        pair._replace(corrected=float(value)) for pair, value in zip(found, corrected, strict=True)
    ]


def _seeds(outcomes: Sequence[Outcome]) -> list[int]:
    return sorted(outcome.seed for outcome in outcomes)


def _of_common_seeds(
    one: Sequence[Outcome], other: Sequence[Outcome]
) -> tuple[Sequence[Outcome], Sequence[Outcome]]:
    common = set(_seeds(one)) & set(_seeds(other))
    unique = all(len(set(_seeds(outcomes))) == len(outcomes) for outcomes in (one, other))
    if not common or not unique:
        return one, other
    return [o for o in one if o.seed in common], [o for o in other if o.seed in common]
