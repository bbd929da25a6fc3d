"""Blends: weights that follow validation alone, and no further than it can tell."""

from __future__ import annotations

import numpy as np
import pytest

from elmo.errors import ConfigError, DataError
from elmo.evaluation.blending import Blend, blended, choose_blend, scaled, uniform
from elmo.runs.finished import Outcome

CLASSES = ["a", "b", "c"]
ROWS = 1000


def member(skill: float, seed: int, bias: int | None = None) -> Outcome:
    """Calibrated probabilities that know more of the label, the larger the skill.

    Args:
        bias: a class of which it knows nothing.
    """
    truth = np.random.default_rng(99)
    labels = truth.integers(0, 3, ROWS)
    random = np.random.default_rng(seed)
    logits = random.normal(size=(ROWS, 3)) + skill * np.eye(3)[labels]
    if bias is not None:
        logits[:, bias] = random.normal(size=ROWS)
    logits *= max(skill, 0.01)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    return Outcome(seed, np.arange(ROWS), np.array(CLASSES)[labels], probabilities, CLASSES)


def loss(outcome: Outcome) -> float:
    labels = np.array([CLASSES.index(label) for label in outcome.labels])
    return float(-np.log(outcome.probabilities[np.arange(ROWS), labels]).mean())


def test_a_random_member_gets_no_weight() -> None:
    blend = choose_blend([member(2, 0), member(0, 1)])
    assert blend.fitted[1] < 0.05
    assert blend.uses_fitted
    assert blend.weights is blend.fitted


def test_members_that_are_equally_good_keep_equal_weights() -> None:
    blend = choose_blend([member(1.5, seed) for seed in range(5)])
    assert not blend.uses_fitted
    assert blend.weights.tolist() == uniform(5).tolist()
    assert blend.fitted.sum() == pytest.approx(1)
    assert (blend.fitted >= 0).all()


def test_no_other_weights_have_a_smaller_loss() -> None:
    members = [member(1.5, 0, bias=0), member(1.2, 1), member(0.5, 2)]
    blend = choose_blend(members)
    best = loss(blended(members, blend.temperatures, blend.fitted))
    random = np.random.default_rng(0)
    for _ in range(30):
        step = blend.fitted * np.exp(0.1 * random.normal(size=3))
        other = blended(members, blend.temperatures, step / step.sum())
        assert loss(other) >= best - 1e-6
    assert best < min(map(loss, members))


def test_scores_that_are_too_flat_are_sharpened() -> None:
    sharp = member(2, 0)
    flat = sharp._replace(
        probabilities=scaled(sharp.probabilities[None], np.array([4.0]))[0],
    )
    blend = choose_blend([flat, member(2, 1)])
    assert blend.temperatures[0] == pytest.approx(blend.temperatures[1] / 4, rel=0.1)
    back = blended([flat], blend.temperatures[:1], uniform(1))
    assert loss(back) == pytest.approx(loss(sharp), abs=0.01)
    assert np.array_equal(back.correct, sharp.correct)


def test_a_probability_of_zero_is_survived() -> None:
    hard = member(2, 0)
    hard = hard._replace(probabilities=np.eye(3)[hard.probabilities.argmax(1)])
    blend = choose_blend([hard, member(1, 1)])
    assert np.isfinite(blend.fitted).all()
    assert np.isfinite([blend.fitted_loss, blend.uniform_loss, blend.error]).all()


def test_weights_that_gain_less_than_an_error_are_not_used() -> None:
    found = Blend(np.ones(2), np.array([0.9, 0.1]), 0.300, 0.301, 0.002, 0.9, 0.9)
    assert not found.uses_fitted
    clear = found._replace(error=0.0005)
    assert clear.uses_fitted
    assert not clear._replace(uniform_accuracy=0.901).uses_fitted


def test_other_rows_and_single_members_do_not_blend() -> None:
    one = member(1, 0)
    with pytest.raises(DataError, match="different rows or classes"):
        choose_blend([one, one._replace(rows=one.rows + 1)])
    with pytest.raises(DataError, match="different rows or classes"):
        choose_blend([one, one._replace(classes=["a", "b", "d"])])
    with pytest.raises(ConfigError, match="two runs with different predictions; found 2 runs"):
        choose_blend([one, one._replace(seed=1)])
