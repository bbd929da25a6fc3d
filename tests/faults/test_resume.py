"""A run that was interrupted and resumed ends as the undisturbed one, to the last bit."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import TINY_CLS, TINY_LM, scalars
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.checkpoints import read_checkpoint
from faults.hostile import changed
from faults.runner import AtStep, Fault, WhileSaving, run, start

slow = pytest.mark.slow
EPOCHS = 3
# A checkpoint after every step that logs nothing: many moments to be killed at.
OFTEN = ("callbacks.last_checkpoint.minutes=0", f"trainer.max_epochs={EPOCHS}")


class Job:
    """A small job, and what it leaves undisturbed."""

    def __init__(self, name: str, artifact: str, settings: tuple[str, ...], folder: Path) -> None:
        self.name = name
        self.artifact = artifact
        tiny = [setting for setting in settings if "max_epochs" not in setting]
        self.settings = (*tiny, *OFTEN)
        self.folder = folder
        self.undisturbed = folder / f"{name}-undisturbed"
        self.log = folder / f"{name}.txt"
        assert self.begin(self.undisturbed) == 0, self.log.read_text()
        self.seconds: float = read_record(self.undisturbed)["seconds"] + 0.5

    def begin(self, run_dir: Path, fault: Fault | None = None) -> int:
        arguments = (*self.settings, f"hydra.run.dir={run_dir}")
        return run(self.name, *arguments, output=self.log, fault=fault)

    def resume(self, run_dir: Path, *changes: str, fault: Fault | None = None) -> int:
        return run(self.name, f"resume={run_dir}", *changes, output=self.log, fault=fault)

    def result(self, run_dir: Path) -> dict[str, Any]:
        """All that has to be the same, to the last bit."""
        record = read_record(run_dir)
        files = [run_dir / self.artifact, *sorted(run_dir.glob("predictions/*"))]
        return {
            "metrics": record["metrics"],
            "splits": record["splits"],
            "files": [file.read_bytes() for file in files],
            "curves": curves(run_dir),
        }


def curves(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every curve but that of the speed."""
    events = EventAccumulator(str(run_dir))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag != "tokens_per_second"
    }


@pytest.fixture(scope="module")
def pretraining(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("pretraining")
    places = (f"output_dir={folder}/outputs", f"cache_dir={cache_dir}")
    return Job("train_lm", "bilstm.pt", (*TINY_LM, *places), folder)


@pytest.fixture(scope="module")
def classifying(pretrained: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("classifying")
    places = (f"output_dir={folder}/outputs", f"cache_dir={cache_dir}")
    chosen = (f"bilm_path={latest_run(pretrained, 'toy')}/bilstm.pt", "mixer=learned")
    settings = (*TINY_CLS, *chosen, *places, "datamodule.token_budget=1024")
    return Job("train_cls", "classifier.pt", settings, folder)


# In the first epoch of 12 steps; before anything was saved; around the end of an epoch; late.
@pytest.mark.parametrize("step", [7, *(pytest.param(n, marks=slow) for n in (1, 12, 13, 30))])
def test_killed_pretraining(step: int, pretraining: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert pretraining.begin(run_dir, AtStep(step)) == -signal.SIGKILL
    assert not (run_dir / "metrics.json").exists()
    assert pretraining.resume(run_dir) == 0, pretraining.log.read_text()
    assert pretraining.result(run_dir) == pretraining.result(pretraining.undisturbed)


@slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_pretraining_from_a_stream(workers: int, cache_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "news.txt"
    file.write_text("".join(f"word{n % 90} {'x ' * (n % 7)}\n" for n in range(700)))
    small = [item for item in TINY_LM if not item.startswith("data=") and "data." not in item]
    data = ["data=text", f"data.files={file}", "data.min_count=1", "data.streaming=true"]
    data += ["data.sample_documents=300", "datamodule.buffer_documents=100"]
    data += ["datamodule.epoch_batches=15", "datamodule.token_budget=64", "softmax=full"]
    data.append(f"datamodule.num_workers={workers}")
    places = (f"output_dir={tmp_path}/outputs", f"cache_dir={cache_dir}")
    job = Job("train_lm", "bilstm.pt", (*small, *data, *places), tmp_path)
    run_dir = tmp_path / "run"
    assert job.begin(run_dir, AtStep(26)) == -signal.SIGKILL  # in the second epoch and buffer
    assert job.resume(run_dir) == 0, job.log.read_text()
    assert job.result(run_dir) == job.result(job.undisturbed)


@pytest.mark.parametrize("step", [10, pytest.param(40, marks=slow)])
def test_killed_classifier(step: int, classifying: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert classifying.begin(run_dir, AtStep(step)) == -signal.SIGKILL
    assert classifying.resume(run_dir) == 0, classifying.log.read_text()
    assert classifying.result(run_dir) == classifying.result(classifying.undisturbed)


AVERAGED = ("average_weights=0.9",)
FINE_TUNED = ("encoder.finetune=true", "unfreeze_epochs=0.5", "language_model_weight=0.5")


@slow
@pytest.mark.parametrize("changes", [AVERAGED, FINE_TUNED])
@pytest.mark.parametrize("step", [10, 40])
def test_killed_classifier_with_more_state(
    step: int, changes: tuple[str, ...], pretrained: Path, cache_dir: Path, tmp_path: Path
) -> None:
    bilm = f"bilm_path={latest_run(pretrained, 'toy')}/bilstm.pt"
    places = (f"output_dir={tmp_path}/outputs", f"cache_dir={cache_dir}")
    settings = (*TINY_CLS, bilm, *places, "datamodule.token_budget=1024", *changes)
    job = Job("train_cls", "classifier.pt", settings, tmp_path)
    run_dir = tmp_path / "run"
    assert job.begin(run_dir, AtStep(step)) == -signal.SIGKILL
    assert job.resume(run_dir) == 0, job.log.read_text()
    assert job.result(run_dir) == job.result(job.undisturbed)


@pytest.mark.parametrize("number", [pytest.param(0, marks=slow), 3])
def test_killed_while_a_checkpoint_is_written(
    number: int, pretraining: Job, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    assert pretraining.begin(run_dir, WhileSaving(number)) == -signal.SIGKILL
    (cut,) = (run_dir / "checkpoints").glob(".*")
    assert pretraining.resume(run_dir) == 0, pretraining.log.read_text()
    assert not cut.exists()
    assert pretraining.result(run_dir) == pretraining.result(pretraining.undisturbed)


@slow
def test_killed_twice(pretraining: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert pretraining.begin(run_dir, AtStep(5)) == -signal.SIGKILL
    assert pretraining.resume(run_dir, fault=AtStep(20)) == -signal.SIGKILL
    assert pretraining.resume(run_dir) == 0, pretraining.log.read_text()
    assert pretraining.result(run_dir) == pretraining.result(pretraining.undisturbed)


@pytest.mark.parametrize(
    ("signum", "code", "step"),  # 17 is one that is logged
    [(signal.SIGINT, 130, 16), pytest.param(signal.SIGTERM, 143, 17, marks=slow)],
)
def test_a_signal_ends_the_step_and_saves(
    signum: signal.Signals, code: int, step: int, pretraining: Job, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    before = len(pretraining.log.read_text())
    assert pretraining.begin(run_dir, AtStep(step, signum)) == code
    printed = pretraining.log.read_text()[before:]
    assert f"continue with: python train_lm.py resume={run_dir}" in printed
    assert "Traceback" not in printed
    assert (run_dir / "checkpoints/last.ckpt").exists()
    assert pretraining.resume(run_dir) == 0
    assert pretraining.result(run_dir) == pretraining.result(pretraining.undisturbed)


def test_a_finished_run_that_goes_on_stays_as_it_is(classifying: Job, tmp_path: Path) -> None:
    """As after a kill between its last file and its end."""
    run_dir = Path(shutil.copytree(classifying.undisturbed, tmp_path / "run"))
    assert classifying.resume(run_dir) == 0, classifying.log.read_text()
    assert classifying.result(run_dir) == classifying.result(classifying.undisturbed)


@slow
def test_a_moved_run_goes_on(pretraining: Job, tmp_path: Path) -> None:
    run_dir, other = tmp_path / "run", tmp_path / "elsewhere"
    assert pretraining.begin(run_dir, AtStep(16)) == -signal.SIGKILL
    run_dir.rename(other)
    assert pretraining.resume(other) == 0, pretraining.log.read_text()
    assert pretraining.result(other) == pretraining.result(pretraining.undisturbed)
    assert not run_dir.exists()


@slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_saves(
    signum: signal.Signals, pretraining: Job, tmp_path: Path
) -> None:
    """A terminal and a scheduler send it to those that load the batches, too."""
    run_dir = tmp_path / "run"
    settings = (*pretraining.settings, "datamodule.num_workers=1", f"hydra.run.dir={run_dir}")
    fault = AtStep(16, signum, group=True)
    code = run(pretraining.name, *settings, output=pretraining.log, fault=fault)
    assert code == 128 + signum, pretraining.log.read_text()
    # The step was finished: to end it at once would leave the checkpoint before.
    assert read_checkpoint(run_dir / "checkpoints/last.ckpt")["global_step"] == 17
    assert pretraining.resume(run_dir) == 0
    assert pretraining.result(run_dir) == pretraining.result(pretraining.undisturbed)


def test_another_bilm_in_the_same_file_is_refused(classifying: Job, tmp_path: Path) -> None:
    """A pretraining that goes on writes its file anew."""
    (named,) = (item for item in classifying.settings if item.startswith("bilm_path="))
    bilm = Path(shutil.copy(named.removeprefix("bilm_path="), tmp_path))
    settings = [item for item in classifying.settings if item != named]
    run_dir = tmp_path / "run"
    places = (f"bilm_path={bilm}", f"hydra.run.dir={run_dir}")
    fault = AtStep(10)
    code = run("train_cls", *settings, *places, output=classifying.log, fault=fault)
    assert code == -signal.SIGKILL
    changed(lambda content: next(iter(content["state"].values())).mul_(2))(bilm)
    before = len(classifying.log.read_text())
    assert classifying.resume(run_dir) == 1
    assert "was started with bilm_sha256=" in classifying.log.read_text()[before:]


def test_more_epochs_for_a_finished_run(pretraining: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(pretraining.undisturbed, run_dir)
    more = f"trainer.max_epochs={EPOCHS + 1}"
    start = len(pretraining.log.read_text())
    assert pretraining.resume(run_dir, more, fault=AtStep(38, signal.SIGTERM)) == 143
    go_on = f"continue with: python train_lm.py resume={run_dir} {more}"
    assert go_on in pretraining.log.read_text()[start:]
    assert pretraining.resume(run_dir, more) == 0
    before, after = scalars(pretraining.undisturbed), scalars(run_dir)
    assert after["val/perplexity"][:EPOCHS] == before["val/perplexity"]
    assert len(after["val/perplexity"]) == EPOCHS + 1


@pytest.mark.parametrize("change", ["optimizer.lr=1", "output_dir=elsewhere", "-m"])
def test_other_settings_are_refused(change: str, pretraining: Job) -> None:
    before = len(pretraining.log.read_text())
    assert pretraining.resume(pretraining.undisturbed, change) == 1
    printed = pretraining.log.read_text()[before:]
    assert printed.startswith(f"error: {change}: a resumed run keeps its settings")
    assert printed.count("\n") == 1


def test_what_is_no_run_is_refused(pretraining: Job, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for name, folder, message in [
        ("train_lm", nowhere, f"resume={nowhere}: no run.json in it"),
        ("train_cls", pretraining.undisturbed, "a run of train_lm.py, not of train_cls.py"),
    ]:
        before = len(pretraining.log.read_text())
        assert run(name, f"resume={folder}", output=pretraining.log) == 1
        printed = pretraining.log.read_text()[before:]
        assert message in printed
        assert printed.count("\n") == 1
    assert not nowhere.exists()


def test_a_run_that_goes_on_is_left_alone(pretraining: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    first = start(
        "train_lm", *pretraining.settings, f"hydra.run.dir={run_dir}", output=pretraining.log,
        fault=AtStep(5, signal.SIGSTOP),
    )  # fmt: skip
    while not (run_dir / "checkpoints/last.ckpt").exists():
        time.sleep(0.05)
    before = len(pretraining.log.read_text())
    assert pretraining.resume(run_dir) == 1
    assert "another process is running this run" in pretraining.log.read_text()[before:]
    first.kill()
    first.join()


def test_changed_settings_are_named(pretraining: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert pretraining.begin(run_dir, AtStep(5)) == -signal.SIGKILL
    record = json.loads((run_dir / "run.json").read_text())
    record["settings"]["optimizer.lr"] = 0.5
    (run_dir / "run.json").write_text(json.dumps(record))
    before = len(pretraining.log.read_text())
    assert pretraining.resume(run_dir) == 1
    assert (
        "was started with optimizer.lr=0.5, which is now 0.004"
        in (pretraining.log.read_text()[before:])
    )


@slow
@pytest.mark.parametrize("job", ["pretraining", "classifying"])
def test_killed_at_any_moment(job: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Sixty kills that hit a run between its start and its end, up to three in one."""
    small: Job = request.getfixturevalue(job)
    expected = small.result(small.undisturbed)
    moments = random.Random(0)
    kills = runs = begun = 0
    longest = small.seconds
    run_dir = tmp_path / "run"

    def arguments() -> list[str]:
        if (run_dir / "run.json").exists():
            return [f"resume={run_dir}"]
        return [*small.settings, f"hydra.run.dir={run_dir}"]  # not a run yet

    while kills < 60:
        for _ in range(moments.choice([1, 1, 2, 3])):
            process = start(small.name, *arguments(), output=small.log)
            process.join(timeout=moments.uniform(0.2, longest))
            process.kill()
            process.join()
            if (run_dir / "metrics.json").exists():
                longest *= 0.9  # too late
                break
            kills += (run_dir / "run.json").exists()
            begun += (run_dir / "checkpoints/last.ckpt").exists()
        assert run(small.name, *arguments(), output=small.log) == 0, small.log.read_text()
        assert small.result(run_dir) == expected, kills
        shutil.rmtree(run_dir)
        runs += 1
    print(f"{job}: {kills} kills in {runs} runs, {begun} of them after a checkpoint")
