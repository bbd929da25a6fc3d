"""A weighted average of the stored probabilities of runs, chosen on validation alone.

Each member is calibrated first by one temperature (Guo et al. 2017), because the scores of an SVM
are softmaxes of margins, which are flatter than probabilities. The weights are those of a mixture:
they minimise its log loss, which is convex in them, by expectation maximisation (Jelinek and Mercer
1980, deleted interpolation). Greedy selection by accuracy (Caruana et al. 2004) would follow a few
rows of 5,000 on which members differ; the log loss uses every row, and has one minimum.

Weights can fit validation too well, and a smaller log loss need not be a higher accuracy. So
cross-validation compares them with equal weights, and equal weights are used unless the log loss of
the fitted ones is smaller by more than one standard error and their accuracy is no lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from elmo.errors import ConfigError
from elmo.evaluation.significance import average_outcomes, distinct_runs
from elmo.runs.finished import Outcome

FOLDS = 10
SMALLEST = 1e-12  # of a probability: a float32 that is zero has no logarithm
STEPS = 1000  # of expectation maximisation, at most
TOLERANCE = 1e-9  # change of the log loss in nats at which it ends
TEMPERATURES = (0.05, 20.0)


class Blend(NamedTuple):
    """The weights of M members."""

    temperatures: np.ndarray  # (M,)
    fitted: np.ndarray  # (M,) the weights that minimise the log loss of validation
    fitted_loss: float  # of held-out validation rows, in nats
    uniform_loss: float
    error: float  # standard error of their difference
    fitted_accuracy: float  # on the same rows
    uniform_accuracy: float

    @property
    def gain(self) -> float:
        """How much smaller the log loss of the fitted weights is, in nats."""
        return self.uniform_loss - self.fitted_loss

    @property
    def uses_fitted(self) -> bool:
        """Whether the fitted weights are better than equal ones by more than an error."""
        return self.gain > self.error and self.fitted_accuracy >= self.uniform_accuracy

    @property
    def weights(self) -> np.ndarray:
        """The weights that are used (M,)."""
        return self.fitted if self.uses_fitted else uniform(len(self.fitted))


def choose_blend(validation: Sequence[Outcome], seed: int = 0) -> Blend:
    """Choose temperatures and weights on the validation rows.

    Args:
        validation: the predictions of each member.
        seed: draws the folds of the cross-validation.

    Raises:
        ConfigError: fewer than two members differ.
        DataError: they have different rows or classes.
    """
    average_outcomes(validation)  # checks the rows
    if len(distinct_runs(validation)) < 2:
        raise ConfigError(
            f"a blend needs two runs with different predictions; found {len(validation)} "
            f"run{'s' if len(validation) > 1 else ''}, all alike; name more folders"
        )
    probabilities = np.stack([outcome.probabilities for outcome in validation]).astype(float)
    classes = np.array(validation[0].classes)
    labels = np.argmax(validation[0].labels[:, None] == classes, axis=1)  # (N,)
    fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    losses = np.empty((2, len(labels)))  # held out: fitted, equal weights
    right = np.empty((2, len(labels)), dtype=bool)
    for number in range(FOLDS):
        rest, held_out = fold != number, fold == number
        temperatures, weights = _fit(probabilities[:, rest], labels[rest])
        members = scaled(probabilities[:, held_out], temperatures)
        for row, chosen in enumerate((weights, uniform(len(weights)))):
            mixed = mix(members, chosen)
            losses[row, held_out] = -np.log(_of_label(mixed, labels[held_out]))
            right[row, held_out] = mixed.argmax(1) == labels[held_out]
    gains = losses[1] - losses[0]
    temperatures, weights = _fit(probabilities, labels)
    fitted_loss, uniform_loss = losses.mean(1).tolist()
    error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    return Blend(temperatures, weights, fitted_loss, uniform_loss, error, *right.mean(1).tolist())


def blended(outcomes: Sequence[Outcome], temperatures: np.ndarray, weights: np.ndarray) -> Outcome:
    """Return the weighted average of calibrated members on any split.

    Raises:
        DataError: the outcomes have different rows or classes.
    """
    average_outcomes(outcomes)  # checks the rows
    probabilities = np.stack([outcome.probabilities for outcome in outcomes]).astype(float)
    mixed = mix(scaled(probabilities, temperatures), weights)
    return outcomes[0]._replace(probabilities=mixed, bilm=None, seed=0)


def uniform(members: int) -> np.ndarray:
    """Return equal weights (M,)."""
    return np.full(members, 1 / members)


def mix(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_m w_m p_m, from (M, N, C) and (M,) to (N, C)."""
    return np.einsum("mnc,m->nc", probabilities, weights)


def scaled(probabilities: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Return softmax(log(p_m) / T_m), the members at their temperatures (M, N, C)."""
    logs = np.log(np.maximum(probabilities, SMALLEST)) / temperatures[:, None, None]
    raised = np.exp(logs - logs.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def _fit(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return temperatures and weights of M members that minimise the log loss (M,), (M,)."""
    temperatures = np.array([_temperature(member, labels) for member in probabilities])
    members = scaled(probabilities, temperatures)
    right = np.stack([_of_label(member, labels) for member in members])  # (M, N)
    weights = uniform(len(right))
    loss = np.inf
    for _ in range(STEPS):
        mixed = weights @ right  # (N,)
        before, loss = loss, float(-np.log(mixed).mean())
        if before - loss < TOLERANCE:
            break
        weights = weights * (right / mixed).mean(1)
    return temperatures, weights


def _temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which the log loss of one member (N, C) is smallest."""

    def loss(log_temperature: float) -> float:
        member = scaled(probabilities[None], np.exp([log_temperature]))[0]
        return float(-np.log(_of_label(member, labels)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def _of_label(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of the true class of each row (N,)."""
    return np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST)
