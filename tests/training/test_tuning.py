"""Studies whose trials are a small script in the place of a training."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from optuna.trial import TrialState

from elmo.errors import ConfigError
from elmo.runs.trials import Range, Space
from elmo.training import tuning
from elmo.training.tuning import run_study
from elmo.training.tuning_plan import Plan, table

# Leaves what a run leaves, as far as a study reads it. Trial N reaches 1 - N / 10 in both epochs.
SCRIPT = """
import json, pathlib, sys, time
settings = dict(item.split("=", 1) for item in sys.argv[1:])
run_dir = pathlib.Path((settings.get("resume") or settings["hydra.run.dir"]).strip("'"))
begins = "resume" not in settings
(run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
if begins:
    (run_dir / "run.json").write_text(json.dumps(settings))
with open(run_dir / "starts", "a") as file:
    print(*sys.argv[1:], file=file)
mode = (pathlib.Path(__file__).parent / "mode").read_text()
number = int(run_dir.name)
if mode == "fails" or mode == f"fails {number}":
    sys.exit("Error executing job\\nno such corpus\\nSet HYDRA_FULL_ERROR=1")
value = 1 - number / 10
for epoch in range(2):
    with open(run_dir / "curve", "a") as file:
        print(value, file=file)
    (run_dir / "checkpoints" / "last.ckpt").write_text(str(epoch))
    if begins and mode == f"hangs from {number}" or mode == "hangs" and number >= 5:
        time.sleep(60)
metrics = {"val/accuracy": None if mode == "diverges" and number else value}
(run_dir / "metrics.json").write_text(json.dumps({"metrics": metrics}))
"""
SPACE = Space(
    "train_cls.py",
    {"mixer": "learned"},
    {"head": ["pool", "attention"]},
    {"lr": Range(1e-4, 1e-2, log=True), "dim": Range(8, 64, step=8)},
)
PLAN = Plan(SPACE, ["threads=1"], "val/accuracy", "max", "tpe", seed=0, prunes=True)


class Tuner:
    """Runs studies of the script in folders of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "script.py"
        self.script.write_text(SCRIPT)
        self.mode("works")

    def mode(self, mode: str) -> None:
        (self.folder / "mode").write_text(mode)

    def run(self, trials: int, plan: Plan = PLAN, name: str = "study") -> Any:
        command = [sys.executable, "-S", str(self.script)]
        return run_study(plan, self.folder / name, trials, lambda of_trial: [*command, *of_trial])

    def trial(self, number: int, name: str = "study") -> Path:
        return self.folder / name / "trials" / f"{number:03}"


@pytest.fixture
def tuner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tuner:
    def curves(run_dir: Path) -> list[list[Any]]:
        file = run_dir / "curve"
        values = file.read_text().split() if file.is_file() else []
        return [["val/accuracy", step, value] for step, value in enumerate(values)]

    monkeypatch.setattr(tuning, "read_curves", curves)
    monkeypatch.setattr(tuning, "POLL", 0.01)
    return Tuner(tmp_path)


def test_each_trial_is_a_run_with_its_settings(tuner: Tuner) -> None:
    study = tuner.run(3)
    assert [trial.value for trial in study.trials] == pytest.approx([1.0, 0.9, 0.8])
    for trial in study.trials:
        assert list(trial.intermediate_values) == [1, 2]
        started = json.loads((tuner.trial(trial.number) / "run.json").read_text())
        assert started.pop("hydra.run.dir") == f"'{tuner.trial(trial.number)}'"
        head = trial.params["head"]
        numbers = {key: json.loads(started.pop(key)) for key in SPACE.ranges}
        assert numbers == {key: trial.params[key] for key in SPACE.ranges}
        assert started == {
            "mixer": "learned",
            "head": head,
            "threads": "1",
            "evaluate_test": "false",
        }
    header, rows = table(PLAN, study)
    assert header == ["trial", "val/accuracy", "epochs", "head", "lr", "dim", "status"]
    assert [row[:3] for row in rows] == [[str(n), f"{1 - n / 10:.4f}", "2"] for n in range(3)]
    _, rows = table(PLAN._replace(mode="min"), study)
    assert [row[0] for row in rows] == ["2", "1", "0"]


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 12), ("random", 4)])
def test_a_study_that_grows_is_the_one_that_was_larger_from_the_start(
    tuner: Tuner, sampler: str, trials: int
) -> None:
    plan = PLAN._replace(sampler=sampler)  # tpe draws ten before it learns
    whole = tuner.run(trials, plan, "whole")
    tuner.run(2, plan)
    grown = tuner.run(trials, plan)
    assert [trial.params for trial in grown.trials] == [trial.params for trial in whole.trials]
    other = tuner.run(3, plan._replace(seed=1), "other")
    assert [t.params for t in other.trials] != [t.params for t in whole.trials[:3]]


def test_an_interrupted_trial_is_resumed(tuner: Tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tuner.run(3, name="whole")
    tuner.mode("hangs from 1")

    def sleep(seconds: float) -> None:  # Ctrl-C while trial 1 hangs in its first epoch
        if (tuner.trial(1) / "checkpoints/last.ckpt").is_file():
            raise KeyboardInterrupt

    monkeypatch.setattr(tuning.time, "sleep", sleep)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        tuner.run(3)
    assert time.monotonic() - began < 30  # the trial was ended as well
    monkeypatch.undo()
    study = Tuner.run(tuner, 3)
    first, second = (tuner.trial(1) / "starts").read_text().splitlines()
    assert "evaluate_test=false" in first
    assert second == f"resume={tuner.trial(1)}"
    assert [trial.params for trial in study.trials] == [trial.params for trial in whole.trials]
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)


def test_a_trial_that_outlived_its_study_is_waited_for(tuner: Tuner) -> None:
    tuner.mode("hangs from 0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning.subprocess, "Popen", _raise)
        with pytest.raises(KeyboardInterrupt):
            tuner.run(1)
    run_dir = tuner.trial(0)
    run_dir.mkdir()
    (run_dir / "run.json").write_text("{}")
    held = threading.Event()

    def finish() -> None:
        with FileLock(run_dir / ".lock"):
            held.set()
            time.sleep(0.5)
            (run_dir / "metrics.json").write_text('{"metrics": {"val/accuracy": 0.75}}')

    threading.Thread(target=finish).start()
    held.wait()
    assert tuner.run(1).trials[0].value == 0.75
    assert not (run_dir / "starts").exists()


def _raise(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_trial_below_the_median_is_pruned(tuner: Tuner) -> None:
    tuner.mode("hangs")  # from trial 5 on: they end only because they are pruned
    study = tuner.run(7)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED] * 2
    mark = json.loads((tuner.trial(5) / "pruned.json").read_text())
    assert mark == {"epoch": 1, "val/accuracy": 0.5}
    assert not (tuner.trial(5) / "metrics.json").exists()
    assert [row[-1] for row in table(PLAN, study)[1]] == ["ok"] * 5 + ["pruned"] * 2


def test_without_pruning_every_trial_ends(tuner: Tuner) -> None:
    study = tuner.run(7, PLAN._replace(prunes=False))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_settings_that_were_tried_are_not_run_again(tuner: Tuner) -> None:
    plan = PLAN._replace(space=SPACE._replace(choices={"head": ["pool"]}, ranges={}))
    study = tuner.run(3, plan)
    assert [trial.value for trial in study.trials] == [1.0] * 3
    assert [path.name for path in (tuner.folder / "study/trials").iterdir()] == ["000"]
    assert [row[-1] for row in table(plan, study)[1]] == ["ok", "as trial 0", "as trial 0"]


def test_a_first_trial_that_fails_ends_the_study(tuner: Tuner) -> None:
    tuner.mode("fails")
    with pytest.raises(
        ConfigError, match=r"trial 0 failed, and none has succeeded: no such corpus$"
    ):
        tuner.run(3)


def test_another_trial_may_fail(tuner: Tuner) -> None:
    tuner.mode("fails 1")
    study = tuner.run(3)
    assert table(PLAN, study)[1][-1][-1] == "failed: no such corpus"
    assert study.trials[2].value == pytest.approx(0.8)


def test_a_figure_that_is_no_number_fails(tuner: Tuner) -> None:
    tuner.mode("diverges")
    study = tuner.run(2)
    assert study.trials[1].state == TrialState.FAIL
    assert table(PLAN, study)[1][-1][-1] == "failed: its val/accuracy is not a number"


def test_a_folder_has_one_study_and_one_process(tuner: Tuner) -> None:
    tuner.run(1)
    with pytest.raises(ConfigError, match=r"has another seed: 0, now 3; name another folder"):
        tuner.run(2, PLAN._replace(seed=3))
    with pytest.raises(ConfigError, match="another space"):
        tuner.run(2, PLAN._replace(space=SPACE._replace(fixed={})))
    tuner.run(1, PLAN._replace(prunes=False))  # which may change
    lock = FileLock(tuner.folder / "study/.lock")
    with lock, pytest.raises(ConfigError, match="another process is running this study"):
        tuner.run(2)
