"""The hierarchical bootstrap: what its intervals cover, and what they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from elmo.evaluation import bootstrap
from elmo.evaluation.bootstrap import Bootstrap, Summary, summarise
from elmo.runs.finished import Outcome
from evaluation.test_significance import outcome, random

TRUE = 0.85  # the accuracy of the recipe that runs are drawn from


def drawn(
    bilms: int, seeds: int, of_bilms: float, of_seeds: float, rows: int, seed: int
) -> list[Outcome]:
    """Runs whose probit of accuracy varies by biLM and by seed; rows are of unequal difficulty."""
    generator = np.random.default_rng(seed)
    difficulty = generator.normal(size=rows)
    runs = []
    for bilm in range(bilms):
        level = norm.ppf(TRUE) + generator.normal(0, of_bilms)
        for number in range(seeds):
            reached = level + generator.normal(0, of_seeds)
            right = 0.8 * difficulty + 0.6 * generator.normal(size=rows) < reached
            runs.append(outcome(right, number, bilm=f"{bilm}"))
    return runs


def width(summary: Summary) -> float:
    return summary.high - summary.low


def rows_alone(runs: list[Outcome]) -> float:
    """The width of the interval that knows of rows alone."""
    mean = np.mean([run.correct for run in runs], axis=0)
    return 2 * 1.96 * float(mean.std()) / math.sqrt(len(mean))


def coverage(found: list[Summary]) -> float:
    return float(np.mean([summary.low <= TRUE <= summary.high for summary in found]))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)


def test_mean_and_deviations_are_of_bilms_and_of_seeds() -> None:
    shares = {"x": (0.7, 0.8), "y": (0.9, 0.6, 0.8)}
    runs = [
        outcome(random(share, 1000, 10 * place + seed), seed, bilm=bilm)
        for place, (bilm, of_bilm) in enumerate(shares.items())
        for seed, share in enumerate(of_bilm)
    ]
    accuracies = [float(run.correct.mean()) for run in runs]
    means = np.mean(accuracies[:2]), np.mean(accuracies[2:])
    summary = summarise(runs)
    assert (summary.bilms, summary.seeds, summary.runs) == (2, (2, 3), 5)
    assert summary.mean == pytest.approx(np.mean(means))
    assert summary.deviation_bilms == pytest.approx(np.std(means, ddof=1))
    inner = [np.var(accuracies[:2], ddof=1), np.var(accuracies[2:], ddof=1)]
    assert summary.deviation == pytest.approx(math.sqrt(np.mean(inner)))


def test_a_level_with_one_member_has_no_deviation() -> None:
    summary = summarise([outcome(random(0.7, 100, 0))])
    assert (summary.bilms, summary.seeds) == (0, (1,))
    assert math.isnan(summary.deviation)
    assert math.isnan(summary.deviation_bilms)


@pytest.mark.parametrize("count", [500, 5000])
def test_the_interval_of_one_run_is_that_of_its_rows(count: int) -> None:
    correct = random(0.8, count, 0)
    summary = summarise([outcome(correct, bilm="x")])
    error = 1.96 * math.sqrt(correct.mean() * (1 - correct.mean()) / count)
    assert summary.low == pytest.approx(correct.mean() - error, abs=0.05 * error)
    assert summary.high == pytest.approx(correct.mean() + error, abs=0.05 * error)
    again = summarise([outcome(correct, bilm="x")])
    assert (again.low, again.high) == (summary.low, summary.high)  # seeded


def test_drawing_kinds_of_rows_is_drawing_rows() -> None:
    correct = np.array([random(0.8, 300, seed) for seed in range(3)])
    found = bootstrap._resample_rows(correct, np.random.default_rng(0))
    assert found.shape == (bootstrap.RESAMPLES, 3)
    assert found.mean(0) == pytest.approx(correct.mean(1), abs=0.002)
    assert np.cov(found.T) * 300 == pytest.approx(np.cov(correct, ddof=0), abs=0.01)


@pytest.mark.usefixtures("few")
def test_intervals_cover_bilms_and_seeds_and_not_rows_alone() -> None:
    """Rows alone would cover about half of what they say; the whole covers what it says."""
    trials = [drawn(4, 3, 0.15, 0.15, 400, seed) for seed in range(80)]
    found = [summarise(runs) for runs in trials]
    assert coverage(found) >= 0.88
    narrow = [
        summary._replace(
            low=summary.mean - rows_alone(runs) / 2, high=summary.mean + rows_alone(runs) / 2
        )
        for summary, runs in zip(found, trials, strict=True)
    ]
    assert coverage(narrow) < 0.8


@pytest.mark.usefixtures("few")
def test_an_interval_is_wider_where_bilms_differ() -> None:
    alike, apart = drawn(5, 4, 0, 0, 1000, 1), drawn(5, 4, 0.3, 0, 1000, 1)
    assert width(summarise(alike)) < 1.5 * rows_alone(alike)
    assert width(summarise(apart)) > 2 * rows_alone(apart)
    # The same runs as if of one biLM: seeds that differ, of which there are more.
    as_seeds = [run._replace(bilm="x", seed=place) for place, run in enumerate(apart)]
    assert rows_alone(apart) < width(summarise(as_seeds)) < width(summarise(apart))


def test_the_variance_over_few_bilms_is_not_too_small() -> None:
    """Where only biLMs differ, the resampled means have the variance s^2 / n of three of them."""
    rows = 100_000
    runs = [
        outcome(np.arange(rows) < share * rows, 0, bilm=name)
        for name, share in (("x", 0.6), ("y", 0.7), ("z", 0.9))
    ]
    found = Bootstrap([runs])
    generator = np.random.default_rng(0)
    places = bootstrap._draw_bilms(3, generator)
    values = found._resampled(0, [np.array([place]) for place in range(3)], places, generator)
    assert values.std() == pytest.approx(np.std([0.6, 0.7, 0.9], ddof=1) / math.sqrt(3), rel=0.05)


def test_paired_rows_narrow_a_difference() -> None:
    one = random(0.8, 2000, 0)
    same_rows = one & random(0.95, 2000, 1)  # right where `one` is, but for some rows
    elsewhere = np.random.default_rng(2).permutation(same_rows)
    paired, apart = (
        Bootstrap([[outcome(one)], [outcome(other)]]).difference(0, 1)
        for other in (same_rows, elsewhere)
    )
    assert paired.difference == pytest.approx(apart.difference)
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)
    assert paired.winner == 0


def test_bilms_that_both_settings_share_are_drawn_together() -> None:
    """All differ by the same amount on every biLM, so drawing biLMs adds nothing to the rows."""
    levels = {"x": 0.5, "y": 0.7, "z": 0.9}
    easy = np.random.default_rng(0).permutation(3000) / 3000

    def setting(loss: float, names: dict[str, str]) -> list[Outcome]:
        return [
            outcome(easy < level - loss, 0, bilm=names.get(name, name))
            for name, level in levels.items()
        ]

    one, shared = setting(0, {}), setting(0.05, {})
    own = setting(0.05, {"x": "u", "y": "v", "z": "w"})
    together = Bootstrap([one, shared]).difference(0, 1)
    separate = Bootstrap([one, own]).difference(0, 1)
    assert (together.bilms, separate.bilms) == (3, 0)
    assert together.difference == pytest.approx(separate.difference)
    assert together.high - together.low < 0.2 * (separate.high - separate.low)
    assert together.winner == 0
    assert separate.winner is None


def test_a_difference_is_on_the_shared_bilms_alone() -> None:
    one = drawn(3, 2, 0.5, 0, 500, 0)
    other = [run._replace(probabilities=run.probabilities[:, ::-1]) for run in one[2:4]]
    found = Bootstrap([one, other]).difference(0, 1)
    assert found.bilms == 1
    assert found.difference == pytest.approx(
        np.mean([run.correct.mean() for run in one[2:4]])
        - np.mean([run.correct.mean() for run in other])
    )


def test_more_pairs_need_wider_intervals() -> None:
    settings = [[outcome(random(share, 600, n))] for n, share in enumerate((0.9, 0.89, 0.8))]
    found = Bootstrap(settings).differences()
    assert [(pair.one, pair.other) for pair in found] == [(0, 1), (0, 2), (1, 2)]
    assert {pair.confidence for pair in found} == {1 - 0.05 / 3}
    for pair in found:
        assert pair.corrected_low < pair.low < pair.high < pair.corrected_high
    assert [pair.winner for pair in found] == [None, 0, 1]
    (alone,) = Bootstrap(settings).differences([(2, 0)])
    assert (alone.corrected_low, alone.corrected_high) == (alone.low, alone.high)
    assert alone.winner == 0
    assert alone.difference < 0


def test_seeds_with_the_same_predictions_are_one_run() -> None:
    once = outcome(random(0.8, 500, 0))
    five = [once._replace(seed=seed) for seed in range(5)]
    summary = summarise(five)
    assert (summary.runs, summary.copies) == (1, 4)
    assert math.isnan(summary.deviation)
    alone = summarise([once])
    assert (summary.low, summary.high) == (alone.low, alone.high)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_chance_alone_rarely_beats() -> None:
    """Three settings are equal in truth: at most a few of forty trials find one that wins."""
    found = 0
    for trial in range(40):
        settings = [drawn(3, 2, 0.05, 0.05, 500, 3 * trial + n) for n in range(3)]
        renamed = [
            [run._replace(bilm=f"{n}{run.bilm}") for run in runs] for n, runs in enumerate(settings)
        ]
        found += any(pair.winner is not None for pair in Bootstrap(renamed).differences())
    assert found <= 8
