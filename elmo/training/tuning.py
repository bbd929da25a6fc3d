"""The trials of `elmo tune`: Optuna chooses their settings, each is a run of its own.

A study is a folder: `study.db` has what Optuna knows, `trials/NNN` is the run of a trial. A study
that was killed goes on with the trial that it was at, which is resumed as any run is, bit for bit.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import optuna
from filelock import FileLock, Timeout
from optuna.trial import Trial, TrialState
from sqlalchemy.engine import URL

from elmo.errors import ConfigError
from elmo.runs.folder import LAST_CHECKPOINT
from elmo.runs.record import METRICS_FILE, RUN_FILE, read_record
from elmo.runs.resume import quoted
from elmo.runs.trials import as_overrides, short
from elmo.training.tensorboard import read_curves
from elmo.training.tuning_plan import Plan, suggest
from elmo.utils.files import write_json
from elmo.utils.terminal import say

PRUNED_FILE = "pruned.json"
POLL = 0.5  # seconds between two looks at a trial
optuna.logging.set_verbosity(optuna.logging.WARNING)


Command = Callable[[list[str]], list[str]]  # how the script is called with these arguments


def run_study(plan: Plan, folder: Path, trials: int, command: Command) -> optuna.Study:
    """Run trials until the study has as many; return the study.

    Raises:
        ConfigError: the folder is that of another study, or another process is at it, or no trial
            has succeeded and one failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), _ended_by_sigterm():
        study = _open(plan, folder)
        for begun in study.get_trials(states=(TrialState.RUNNING,)):
            say(f"trial {begun.number} goes on")
            study.sampler = plan.sampler_of(begun.number)
            _settle(plan, study, Trial(study, begun._trial_id), folder, command)
        while (number := len(study.trials)) < trials:
            study.sampler = plan.sampler_of(number)
            _settle(plan, study, study.ask(), folder, command)
    return study


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder of a study.

    Raises:
        ConfigError: another process has locked it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{folder}: another process is running this study") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise an exception in the body, so that it ends its trial before itself."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _open(plan: Plan, folder: Path) -> optuna.Study:
    """Return the study of a folder, a new one where there is none.

    Raises:
        ConfigError: it is another study.
    """
    database = str((folder / "study.db").resolve())
    study = optuna.create_study(
        storage=URL.create("sqlite", database=database).render_as_string(),
        study_name="elmo",
        direction="maximize" if plan.mode == "max" else "minimize",
        pruner=plan.pruner,
        load_if_exists=True,
    )
    before = study.user_attrs.get("plan", plan.identity)
    for key, value in plan.identity.items():
        if before[key] != value:
            raise ConfigError(
                f"{folder}: its study has another {key}: {before[key]!r:.200}, now {value!r:.200}; "
                "name another folder with -o"
            )
    study.set_user_attr("plan", plan.identity)
    return study


def _settle(plan: Plan, study: optuna.Study, trial: Trial, folder: Path, command: Command) -> None:
    """Run a trial, or what is left of it, and tell the study what came of it."""
    chosen = suggest(plan.space, trial)
    shown = " ".join(f"{key}={short(value)}" for key, value in chosen.items())
    for other in study.get_trials(states=(TrialState.COMPLETE,)):
        if other.params == trial.params:  # a run with the same seed would be the same, to the bit
            trial.set_user_attr("same as", other.number)
            study.tell(trial, other.value)
            say(f"trial {trial.number}: as trial {other.number}: {shown}")
            return
    say(f"trial {trial.number} begins: {shown}")
    run_dir = folder / "trials" / f"{trial.number:03}"
    settings, failure = as_overrides(plan.space.fixed | chosen), ""
    if not _ended(run_dir):
        failure = _run(plan, study, trial, run_dir, command, settings)
    value = None
    if (run_dir / METRICS_FILE).is_file():
        value = read_record(run_dir)["metrics"][plan.metric]
        failure = f"its {plan.metric} is not a number"
    if value is not None:
        study.tell(trial, value)
        say(f"trial {trial.number}: {plan.metric} {value:.4f}, best {study.best_value:.4f}")
    elif (run_dir / PRUNED_FILE).is_file():
        study.tell(trial, state=TrialState.PRUNED)
        say(f"trial {trial.number} was pruned")
    else:
        trial.set_user_attr("failure", failure)
        study.tell(trial, state=TrialState.FAIL)
        if not study.get_trials(states=(TrialState.COMPLETE,)):
            raise ConfigError(f"trial {trial.number} failed, and none has succeeded: {failure}")
        say(f"trial {trial.number} failed: {failure}")


def _ended(run_dir: Path) -> bool:
    """Tell whether nothing is left to do: the run is finished, or was pruned."""
    return any((run_dir / name).is_file() for name in (METRICS_FILE, PRUNED_FILE))


def _run(
    plan: Plan,
    study: optuna.Study,
    trial: Trial,
    run_dir: Path,
    command: Command,
    settings: list[str],
) -> str:
    """Run the script until it ends or is pruned; return the last thing that it said."""
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    arguments = [f"resume={run_dir}"]
    if (run_dir / RUN_FILE).is_file():
        with FileLock(run_dir / ".lock"):  # of a trial that outlived an earlier start of the study
            pass
        if (run_dir / METRICS_FILE).is_file():
            return ""
    else:
        place = f"hydra.run.dir={quoted(run_dir)}"
        arguments = [*settings, *plan.overrides, "evaluate_test=false", place]
    with tempfile.TemporaryFile("w+") as errors:
        # In a session of its own: Ctrl-C in the terminal reaches this process alone.
        process = subprocess.Popen(
            command(arguments), stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
        try:
            _watch(plan, study, trial, run_dir, process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        errors.seek(0)
        lines = [line.strip() for line in errors if line.strip()]
    said = [line for line in lines if "HYDRA_FULL_ERROR" not in line]
    return said[-1] if said else f"it ended with exit code {process.returncode}"


def _watch(
    plan: Plan,
    study: optuna.Study,
    trial: Trial,
    run_dir: Path,
    process: subprocess.Popen[bytes],
) -> None:
    """Report the figure of each epoch to the study, and end the process where it is pruned."""
    checkpoint, seen = run_dir / LAST_CHECKPOINT, 0
    while process.poll() is None:
        time.sleep(POLL)
        # Curves are on the disk whenever a checkpoint is; so it is not opened for nothing.
        written = checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0
        if written == seen:
            continue
        seen = written
        epoch = _report(plan, study, trial, run_dir)
        if epoch and trial.should_prune():
            process.terminate()
            process.wait()
            if not (run_dir / METRICS_FILE).is_file():  # it may just have been finished
                value = study.trials[trial.number].intermediate_values[epoch]
                write_json(run_dir / PRUNED_FILE, {"epoch": epoch, plan.metric: value})
            return
    _report(plan, study, trial, run_dir)


def _report(plan: Plan, study: optuna.Study, trial: Trial, run_dir: Path) -> int:
    """Report the epochs that were not reported before; return the number of the last of these."""
    values = [value for tag, _, value in read_curves(run_dir) if tag == plan.metric]
    known = study.trials[trial.number].intermediate_values
    last = 0
    for epoch, value in enumerate(map(float, values), start=1):
        if epoch not in known:
            trial.report(value, epoch)
            last = epoch
    return last
