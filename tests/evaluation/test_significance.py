from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from elmo.errors import DataError
from elmo.evaluation.significance import average_outcomes, compare, distinct_runs
from elmo.runs.finished import Outcome

CLASSES = ["a", "b"]


def outcome(
    correct: np.ndarray, seed: int = 0, rows: np.ndarray | None = None, bilm: str | None = None
) -> Outcome:
    """All labels are `a`; its probability is 0.9 where the prediction is right, else 0.2."""
    right = np.where(correct, 0.9, 0.2)
    return Outcome(
        seed,
        np.arange(len(correct)) if rows is None else rows,
        np.full(len(correct), "a"),
        np.stack([right, 1 - right], axis=1),
        CLASSES,
        bilm,
    )


def random(share: float, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < share


def test_seeds_that_agree_on_average_are_right_together() -> None:
    first = outcome(np.array([True, False, True]))
    second = outcome(np.array([True, True, False]))
    mean = average_outcomes([first, second])
    assert mean.correct.tolist() == [True, True, True]  # (0.9 + 0.2) / 2


def test_mcnemar_is_a_binomial_test_of_the_rows_in_which_they_differ() -> None:
    one, other = random(0.9, 400, 1), random(0.86, 400, 2)
    (pair,) = compare([[outcome(one)], [outcome(other)]])
    only_one, only_other = int((one & ~other).sum()), int((~one & other).sum())
    assert (pair.only_one, pair.only_other) == (only_one, only_other)
    assert pair.p == pytest.approx(binomtest(only_one, only_one + only_other).pvalue)
    assert pair.corrected == pair.p
    assert pair.difference == pytest.approx(one.mean() - other.mean())


def test_equal_settings_do_not_differ() -> None:
    one = outcome(random(0.9, 100, 1))
    (pair,) = compare([[one], [one]])
    assert (pair.difference, pair.p, pair.corrected) == (0, 1, 1)
    assert compare([[one]]) == []


def test_holm_by_hand() -> None:
    pairs = compare([[outcome(random(share, 600, n))] for n, share in enumerate((0.9, 0.85, 0.8))])
    order = sorted(pairs, key=lambda pair: pair.p)
    highest = 0.0
    for rank, pair in enumerate(order):
        highest = max(highest, min(1, pair.p * (len(pairs) - rank)))
        assert pair.corrected == pytest.approx(highest)


@pytest.mark.slow
def test_chance_alone_is_rarely_significant() -> None:
    """Three settings are equal in truth: at most a few of twenty trials find a difference."""
    found = 0
    for trial in range(20):
        settings = [[outcome(random(0.85, 500, 3 * trial + n))] for n in range(3)]
        found += any(pair.corrected < 0.05 for pair in compare(settings))
    assert found <= 4


def test_other_rows_do_not_compare() -> None:
    one = outcome(random(0.9, 50, 1))
    other = outcome(random(0.9, 50, 1), rows=np.arange(1, 51))
    for settings in ([[one, other]], [[one], [other]]):
        with pytest.raises(DataError, match="different rows"):
            compare(settings)


def test_the_seeds_that_both_settings_have_are_averaged() -> None:
    one = [outcome(random(0.8, 400, seed), seed) for seed in range(5)]
    other = [outcome(random(0.7, 400, 10 + seed), seed) for seed in (1, 3)]
    (pair,) = compare([one, other])
    (expected,) = compare([[one[1], one[3]], other])
    assert pair == expected
    assert pair.models == (2, 2)
    apart = [outcome(random(0.7, 400, 20), 9)]
    (pair,) = compare([one, apart])
    assert pair.models == (5, 1)
    assert pair.difference == pytest.approx(
        average_outcomes(one).correct.mean() - apart[0].correct.mean()
    )


def test_only_the_pairs_asked_for_are_tested_and_corrected_for() -> None:
    settings = [[outcome(random(0.5 + n / 20, 300, n))] for n in range(4)]
    found = compare(settings, [(0, 1), (0, 3)])
    assert [(pair.one, pair.other) for pair in found] == [(0, 1), (0, 3)]
    every = {(pair.one, pair.other): pair for pair in compare(settings)}
    for pair in found:
        assert pair.p == every[pair.one, pair.other].p
        assert pair.corrected <= every[pair.one, pair.other].corrected


def test_of_settings_on_the_same_bilm_the_runs_on_it_are_averaged() -> None:
    one = [
        outcome(random(0.8, 400, 10 * place + seed), seed, bilm=bilm)
        for place, bilm in enumerate(("x", "y", "z"))
        for seed in range(2)
    ]
    other = [outcome(random(0.7, 400, 50 + seed), seed, bilm="y") for seed in range(2)]
    (pair,) = compare([one, other])
    (expected,) = compare([one[2:4], other])
    assert pair == expected
    assert pair.models == (2, 2)
    without = [outcome(random(0.7, 400, 50 + seed), seed) for seed in range(2)]
    assert compare([one, without])[0].models == (6, 2)  # the seeds stand for several runs


def test_runs_with_the_same_predictions_are_one() -> None:
    first, second = (outcome(random(0.8, 100, seed), seed) for seed in range(2))
    noise = first._replace(seed=7, probabilities=first.probabilities + 1e-7)
    assert [run.seed for run in distinct_runs([first, second, noise])] == [0, 1]
    nearly = first._replace(probabilities=first.probabilities[:, ::-1])
    assert len(distinct_runs([first, nearly])) == 2
    (pair,) = compare([[first, noise], [second]])
    assert pair.models == (1, 1)
