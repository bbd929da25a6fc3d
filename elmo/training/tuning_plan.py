"""What a study of `elmo tune` is: its settings, sampler and pruner, and the table of its trials."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from elmo.runs.trials import Range, Space, short

SAMPLERS = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}


class Plan(NamedTuple):
    """What a study tries, and by what it judges."""

    space: Space
    overrides: list[str]  # of every trial, beside those of the space
    metric: str  # such as `val/accuracy`
    mode: str  # `max` where higher is better, or `min`
    sampler: str
    seed: int
    prunes: bool

    @property
    def identity(self) -> dict[str, Any]:
        """All that has to be the same when a study goes on."""
        space = self.space._asdict() | {
            "ranges": {key: list(of) for key, of in self.space.ranges.items()}
        }
        plan = self._asdict() | {"space": space}
        return json.loads(json.dumps({key: plan[key] for key in plan if key != "prunes"}))

    @property
    def pruner(self) -> optuna.pruners.BasePruner:
        """Ends a trial whose best figure is worse than the median of the others at that epoch."""
        return optuna.pruners.MedianPruner() if self.prunes else optuna.pruners.NopPruner()

    def sampler_of(self, number: int) -> optuna.samplers.BaseSampler:
        """Return the sampler of a trial.

        Each has its own seed: one sampler for all would begin anew when a study goes on.
        """
        seed = np.random.SeedSequence([self.seed, number]).generate_state(1)[0]
        return SAMPLERS[self.sampler](seed=int(seed))


def suggest(space: Space, trial: Trial) -> dict[str, Any]:
    """Return the settings of a trial; what was chosen before an interruption stays."""
    found: dict[str, Any] = {
        key: trial.suggest_categorical(key, values) for key, values in space.choices.items()
    }
    for key, of in space.ranges.items():
        found[key] = _in_range(of, key, trial)
    return found


def _in_range(of: Range, key: str, trial: Trial) -> float:
    if of.is_whole and (of.step is None or isinstance(of.step, int)):
        return trial.suggest_int(key, int(of.low), int(of.high), log=of.log, step=of.step or 1)
    return trial.suggest_float(key, of.low, of.high, log=of.log, step=of.step)


def table(plan: Plan, study: optuna.Study) -> tuple[list[str], list[list[str]]]:
    """Return the header and a row for each trial, the best first."""
    keys = [*plan.space.choices, *plan.space.ranges]
    header = ["trial", plan.metric, "epochs", *keys, "status"]
    sign = -1 if plan.mode == "max" else 1

    def place(trial: FrozenTrial) -> tuple[bool, float, int]:
        done = trial.state == TrialState.COMPLETE and trial.value is not None
        return not done, sign * (trial.value or 0.0) if done else math.inf, trial.number

    rows = []
    for trial in sorted(study.trials, key=place):
        status = {
            TrialState.COMPLETE: "ok",
            TrialState.PRUNED: "pruned",
            TrialState.RUNNING: "not finished",
        }.get(trial.state, f"failed: {trial.user_attrs.get('failure')}")
        if "same as" in trial.user_attrs:
            status = f"as trial {trial.user_attrs['same as']}"
        value = "" if trial.value is None else f"{trial.value:.4f}"
        epochs = str(len(trial.intermediate_values) or "")
        settings = [short(trial.params.get(key, "")) for key in keys]
        rows.append([str(trial.number), value, epochs, *settings, status])
    return header, rows
