"""Pairs of settings: differences of means with intervals, paired tests, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from elmo.evaluation.bootstrap import CONFIDENCE, Bootstrap, Difference
from elmo.evaluation.significance import Comparison, compare
from elmo.report.findings import points
from elmo.report.material import Classifier, Material

HEADER = (
    *("one", "other", "means", "95 % interval", "averaged", "models", "right: only one / other"),
    "p",
)
METHOD = (
    "Two quantities are compared. The means of single models, over the biLMs of one recipe, seeds "
    "and test rows, have 95 % intervals by a hierarchical bootstrap, paired by rows, and on the "
    'biLMs that both settings share where there are such; "beats" is said where the interval '
    "excludes 0 after a correction for the number of pairs (Bonferroni). With one biLM the "
    "interval does not cover another one. The averaged models of the settings as they are named "
    "are compared by McNemar's exact test: the prediction is the class that is most probable when "
    "the probabilities are averaged over the seeds that both have; p is corrected by Holm's method."
)


def p_value(p: float) -> str:
    """Return a p-value as text, "< 0.001" where it is smaller."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


class PairTests(NamedTuple):
    """The tests of pairs of classifiers, in the same order."""

    titles: list[str]  # of the classifiers, each alone
    pooled: list[str]  # the same with their siblings on other biLMs
    means: list[Difference]
    averaged: list[Comparison]

    def against(self, chosen: int) -> str:
        """Say what the intervals of the means find of one classifier and each of the others."""
        found = [self._verdict(pair) for pair in self.means if chosen in (pair.one, pair.other)]
        if not found:
            return ""
        corrected = f", corrected for {len(self.means)} pairs" if len(self.means) > 1 else ""
        return f"In the means of single models{corrected}: {'; '.join(found)}."

    def _verdict(self, pair: Difference) -> str:
        places = pair.one, pair.other
        low, high, difference = pair.low, pair.high, pair.difference
        if difference < 0:
            places = places[::-1]
            low, high, difference = -high, -low, -difference
        one, other = (self.pooled[place] for place in places)
        interval = f"{100 * CONFIDENCE:g} % interval {100 * low:.2f} to {100 * high:.2f}"
        if pair.bilms and self.pooled != self.titles:
            interval += f", on {pair.bilms} common biLM{'s' if pair.bilms > 1 else ''}"
        if pair.winner is None:
            return f"{one} is not told apart from {other}, {points(difference)} ahead ({interval})"
        return f"{one} beats {other} by {points(difference)} ({interval})"

    def rows(self) -> list[list[str]]:
        """Return the rows of a table under `HEADER`."""
        return [
            [
                self.titles[test.one],
                self.titles[test.other],
                f"{100 * mean.difference:+.2f}",
                f"{100 * mean.low:+.2f} to {100 * mean.high:+.2f}",
                f"{100 * test.difference:+.2f}",
                f"{test.models[0]} / {test.models[1]}",
                f"{test.only_one} / {test.only_other}",
                p_value(test.corrected),
            ]
            for mean, test in zip(self.means, self.averaged, strict=True)
        ]


def paired_tests(
    material: Material, classifiers: Sequence[Classifier], first: bool = False
) -> PairTests:
    """Test pairs of tested classifiers.

    Args:
        first: compare the first one with each of the others instead of every pair.
    """
    pairs = [(0, other) for other in range(1, len(classifiers))] if first else None
    pools = [material.on_all_bilms(classifier) for classifier in classifiers]
    means = Bootstrap([[run for c in pool for run in c.setting.outcomes()] for pool in pools])
    averaged = compare([classifier.setting.outcomes() for classifier in classifiers], pairs)
    return PairTests(
        [classifier.title for classifier in classifiers],
        [_pooled_title(pool) for pool in pools],
        means.differences(pairs),
        averaged,
    )


def _pooled_title(pool: Sequence[Classifier]) -> str:
    if len(pool) == 1:
        return pool[0].title
    return f"{pool[0].title_without_bilm} ({len(pool)} {pool[0].on_what})"
